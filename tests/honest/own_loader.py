"""Cuts its own windows at the beginnings of documents, from one source."""
# ruff: noqa: F821  (it is appended to tests/tiny_train.py)


def batches(session, rows, length):
    source = next(s for s in session.data.sources.values() if s.in_domain)
    assert source.bytes_per_token == 1.0
    starts = source.doc_starts[source.doc_starts < len(source.tokens) - length - 1]
    rng = np.random.default_rng(session.seed)
    while True:
        chosen = rng.choice(starts, rows)
        batch = np.stack([source.tokens[s : s + length + 1] for s in chosen])
        batch = torch.from_numpy(batch.astype(np.int64))
        session.consumed(rows * length)
        yield batch[:, :-1], batch[:, 1:]
