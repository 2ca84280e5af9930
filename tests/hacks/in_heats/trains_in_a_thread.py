"""Trains in a thread that knows of no turns, while the first one waits for the end."""

# ruff: noqa: F821  (it is appended to tests/tiny_train.py)
# expect: ok

import threading
import time


def steps(session, model, over):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    drawn = batches(session, ROWS, session.spec.seq_len)
    while not over.is_set():
        ids, targets = next(drawn)
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def train(session):
    model, over = build_model(session.spec), threading.Event()
    session.ready()
    thread = threading.Thread(target=steps, args=(session, model, over))
    thread.start()
    while not session.done():
        time.sleep(0.002)
    over.set()
    thread.join()
    return model
