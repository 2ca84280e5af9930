"""Evidence: each figure of the README has a script here; results/ keeps what was measured."""
