"""Speaks to the terminal in an error."""

# expect: crashed crash


def train(session):
    print("\x1b[2J\x1b]0;owned\x07")
    raise ValueError("\x1b[2J\x1b[31mval_bpb 0.1\x1b[0m\u202e\r")
