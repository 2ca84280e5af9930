"""Never ends a turn and never computes."""


# expect: overtime overtime

import time


def train(session):
    session.ready()
    time.sleep(1000)
