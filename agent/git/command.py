"""Run one git command through GitPython, in an environment of the campaign's own.

The user's environment cannot point it at another repository or index. No hook, editor or signature
program runs, and no setting of the user changes a byte of what is committed.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import git

from trainer.errors import UserError

NAME, EMAIL = "autoresearch", "autoresearch@localhost"
"""Author and committer of all that a campaign commits."""

_OVERRIDES = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.filesRefLockTimeout=2000",  # milliseconds; for a user's git that holds a lock just now
    "core.packedRefsTimeout=2000",
    "core.autocrlf=false",
    "core.fsync=loose-object,reference",  # a power cut must not lose commits that the journal names
    "commit.gpgSign=false",
    "i18n.commitEncoding=UTF-8",
    "submodule.recurse=false",
    "gc.auto=0",
)
_KEPT_VARIABLES = ("GIT_CONFIG_", "GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES")
"""The user's own configuration (it may set safe.directory) and the location of git."""
_IDENTITY_VARIABLES = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", NAME), ("EMAIL", EMAIL), ("DATE", ""))  # no date means now
}
_FIXED_VARIABLES = {
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",  # without it even a read-only command refreshes the user's index
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
}
_ADVICE = {
    "promisor remote": "this clone left that out (git clone --filter); run again when its remote "
    "can be reached",
    "No space left on device": "free some space, then run again: nothing is lost",
    "Disk quota exceeded": "free some space, then run again: nothing is lost",
    "Read-only file system": "make it writable, then run again: nothing is lost",
    "; cannot create": "that ref is no campaign's; if nobody needs it: git update-ref -d REF",
    "(stored in ": "move that file away, then run again: the journal may have what was in it",
    "Permission denied": "make it writable for you, then run again: nothing is lost",
    "insufficient permission": "make it writable for you, then run again: nothing is lost",
}
"""What to do, by words of a complaint."""


class RepoError(UserError):
    """Git could not do what was asked; the message says what, where and what to do."""


_forgotten: dict[str, str] = {}


def forget_inherited() -> None:
    """Remove git's variables from this process's environment, before a repository is opened.

    ``git.Repo`` obeys ``GIT_DIR`` and similar variables, and GitPython gives a command all of them.
    The user's identity stays, because merges are made with it. Models and their programs get the
    environment as it was: see ``inherited_environment``.
    """
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        if not name.startswith(_KEPT_VARIABLES) and name not in _IDENTITY_VARIABLES:
            _forgotten[name] = os.environ.pop(name)


def inherited_environment() -> dict[str, str]:
    """The environment as the user gave it, with the variables that ``forget_inherited`` removed."""
    return {**_forgotten, **os.environ}


def run_git(
    *args: str,
    cwd: Path,
    stdin: bytes = b"",
    dates: int | None = None,
    as_user: bool = False,
    config: Sequence[str] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run one git command to its end, whatever its exit status.

    ``dates``: author's and committer's date, unix seconds. ``as_user``: with the user's own
    settings, hooks and identity. ``config``: settings (``name=value``) for this command.

    Raises:
        RepoError: git could not be started.
    """
    command, env = _command(args, cwd, as_user=as_user, config=config)
    if dates is not None:
        env |= dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"@{dates} +0000")
    try:
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            ended: Any = git.cmd.Git().execute(
                command,
                cast(BinaryIO, file),
                env=env,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                # In its own session, so that Ctrl-C cannot interrupt a ref transaction.
                start_new_session=not as_user,
            )
    except git.GitCommandNotFound as error:
        raise RepoError("there is no git on PATH: install git, then run again") from error
    except (OSError, ValueError) as error:
        raise RepoError(f"git {args[0]} could not be started in {cwd}: {error}") from error
    status, out, told = ended
    return subprocess.CompletedProcess(command, status, out, told.encode("utf-8", "replace"))


def start_git(*args: str, cwd: Path) -> Any:
    """Start a git command with pipes to it and from it, as GitPython's process.

    Raises:
        RepoError: git could not be started.
    """
    command, env = _command(args, cwd)
    pipes: dict[str, Any] = {"istream": subprocess.PIPE, "as_process": True}
    try:
        return git.cmd.Git().execute(command, env=env, start_new_session=True, **pipes)
    except (git.GitCommandNotFound, OSError, ValueError) as error:
        raise RepoError(f"git {args[0]} could not be started in {cwd}: {error}") from error


def _command(
    args: Sequence[str], cwd: Path, *, as_user: bool = False, config: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """A command's words and what is set in its environment."""
    # -C instead of GitPython's working folder, which it silently ignores if it is inaccessible.
    command = ["git", "-C", str(cwd)]
    if as_user:  # the user's hooks use the user's locale; GitPython sets C
        env = {name: os.environ.get(name, "") for name in ("LC_ALL", "LANGUAGE")}
    else:
        env = {**_IDENTITY_VARIABLES, **_FIXED_VARIABLES}
        command += [part for override in (*_OVERRIDES, *config) for part in ("-c", override)]
    return [*command, *args], env


def complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """What git said about a failure, on one line, without its hints; and what to do."""
    lines = (done.stderr or done.stdout).decode("utf-8", "replace").splitlines()
    said = "; ".join(line.strip() for line in lines if line and not line.startswith("hint:"))
    return (said[-600:] or f"exit status {done.returncode}") + advice(said)


def advice(said: str) -> str:
    """What to do about a complaint of git or of the system, as far as that is known."""
    return next((f"; {do}" for words, do in _ADVICE.items() if words in said), "")
