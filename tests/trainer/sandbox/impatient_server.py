"""The fork server, which waits one second for what it has killed. ``-m`` of a ``ForkServer``."""

from trainer.roles import ROLES, _preload
from trainer.sandbox import server, tree

tree.KILL_SECONDS = 1.0

if __name__ == "__main__":
    server.main(ROLES, _preload, __spec__.name)
