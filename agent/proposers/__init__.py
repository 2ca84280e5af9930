"""Where edits come from; ``base`` says what a proposer is, ``choose`` makes the one asked for."""
