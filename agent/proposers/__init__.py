"""Where edits come from; ``base`` defines a proposer, ``choose`` makes the requested one."""
