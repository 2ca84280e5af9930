"""The steps of the loop and of the commands; those of the loop take a ``Runtime``."""
