"""Evidence: each figure in the README and docs/ has a script here; results/ keeps what it said."""
