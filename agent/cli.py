"""``python -m agent``: its commands, and what an error becomes."""

from __future__ import annotations

import sys
from typing import NoReturn

from agent.commands.shared import app
from agent.git.command import advice
from agent.steps.stop import StopNow
from trainer import console
from trainer.errors import UserError


def main() -> None:
    """Run a command; an expected error prints one line on stderr and exits with code 2."""
    try:
        console.run(app)
    except UserError as error:
        _fail(str(error))
    except StopNow as now:
        print(f"error: {now}", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        _fail("interrupted; nothing is lost")
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        said = error.strerror or str(error)
        _fail(f"{where}{said}{advice(said)}")


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
