"""What a child of the fork server may be; run by the fork server, never imported.

``train`` and ``eval`` run candidate code and confine themselves first. ``score`` and ``probe`` are
trusted; ``score`` has a line of its own to the server, on which it starts ``eval`` children.
"""

from __future__ import annotations

from trainer.sandbox import server
from trainer.sandbox.server import Role
from trainer.sandbox.wire import Channel

# What a role needs takes seconds to import; where children are forked, `preload` has done so.


def _train(control: Channel, fds: list[int]) -> int:
    from trainer.training import child

    return child.main(control)


def _eval(control: Channel, fds: list[int]) -> int:
    from trainer.scoring import child

    return child.main(control)


def _score(control: Channel, fds: list[int]) -> int:
    from trainer.scoring import scorer

    return scorer.main(control, Channel.from_fd(fds[2]))


def _probe(control: Channel, fds: list[int]) -> int:
    from trainer.training import child

    control.send(child.probe())
    return 0


ROLES = {
    "train": Role(_train),
    "eval": Role(_eval, scorers=True),
    "score": Role(_score, trusted=True),
    "probe": Role(_probe, trusted=True),
}


def _preload() -> None:
    import nono_py  # noqa: F401
    import torch._dynamo  # noqa: F401  the first optimizer would import it, at a second's cost

    import trainer.scoring.child
    import trainer.scoring.scorer
    import trainer.training.child  # noqa: F401


if __name__ == "__main__":
    server.main(ROLES, _preload, __spec__.name)
