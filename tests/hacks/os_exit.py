"""Ends its process at once, as if all were well."""

# expect: crashed crash

import os


def train(session):
    os._exit(0)
