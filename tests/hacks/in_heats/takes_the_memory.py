"""Takes more memory than is its share, in its turn."""


# expect: oom memory
# budget: 6s
# memory_mb: 800

import time


def train(session):
    session.ready()
    session.done()
    block = bytearray(b"x") * (2 << 30)
    time.sleep(1000)
    return block
