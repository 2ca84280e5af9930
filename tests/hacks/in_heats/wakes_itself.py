"""Has the system send it, while it is stopped, the signal to go on."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import ctypes
import signal
import threading


class Event(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("number", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


def spin():
    while True:
        pass


def train(session, honest=train):
    timer, event = ctypes.c_void_p(), Event(number=signal.SIGCONT, notify=0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.timer_create(1, ctypes.byref(event), ctypes.byref(timer)) == 0:
        times = (ctypes.c_long * 4)(0, 15_000_000, 0, 15_000_000)
        libc.timer_settime(timer, 0, times, None)
        print("open: a timer that wakes a stopped process")
    threading.Thread(target=spin, daemon=True).start()
    return honest(session)
