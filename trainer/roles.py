"""The roles of the fork server's children. The fork server runs this module; nothing imports it.

``train`` and ``eval`` confine themselves, then run candidate code. ``score`` and ``probe`` are
trusted; ``score`` has its own connection to the server, over which it starts ``eval`` children.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil

from trainer.sandbox import server
from trainer.sandbox.server import ChildRole

ROLES = {
    "train": ChildRole("trainer.training.child:main"),
    "eval": ChildRole("trainer.scoring.child:main", scorer_may_start=True),
    "score": ChildRole("trainer.scoring.scorer:main", trusted=True),
    "probe": ChildRole("trainer.training.child:probe", trusted=True),
}


def _preload() -> None:
    """Import what takes seconds, before children are forked."""
    with contextlib.suppress(ImportError):  # then nothing is confined
        importlib.import_module("nono_py")
    importlib.import_module("torch._dynamo")  # the first optimizer would, at a second's cost
    for role in ROLES.values():
        pkgutil.resolve_name(role.start)


if __name__ == "__main__":
    server.main(ROLES, _preload, __spec__.name)
