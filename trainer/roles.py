"""The roles of the fork server's children. The fork server runs this module; nothing imports it.

``train`` and ``eval`` confine themselves, then run candidate code. ``score`` and ``probe`` are
trusted; ``score`` has its own connection to the server, over which it starts ``eval`` children.
"""

from __future__ import annotations

from trainer.sandbox import server
from trainer.sandbox.server import ChildRole
from trainer.sandbox.wire import Channel

# The imports of a role take seconds; where children are forked, `_preload` has done them before.


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
    "train": ChildRole(_train),
    "eval": ChildRole(_eval, scorer_may_start=True),
    "score": ChildRole(_score, trusted=True),
    "probe": ChildRole(_probe, trusted=True),
}


def _preload() -> None:
    import nono_py  # noqa: F401
    import torch._dynamo  # noqa: F401  the first optimizer would import it, at a second's cost

    import trainer.scoring.child
    import trainer.scoring.scorer
    import trainer.training.child  # noqa: F401


if __name__ == "__main__":
    server.main(ROLES, _preload, __spec__.name)
