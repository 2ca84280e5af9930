"""Never comes back from a call into C."""

# expect: overtime overtime
# budget: 0.5s

import ctypes


def train(session):
    session.ready()
    ctypes.PyDLL(None).sleep(100_000)
