"""The openings of the sealed test text that clones of a repository know of.

They stand in notes on the baseline's commit, a line of JSON each, which begins with its time so
that git can merge them: ``git notes merge -s cat_sort_uniq``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from agent.git.repo import Repo
from trainer.errors import UserError


def noted_openings(repo: Repo, tag: str, baseline: str) -> list[dict[str, Any]]:
    """The openings that notes tell of: ``by`` what, of which ``commits``, whether in a ``clone``.

    Raises:
        UserError: a line cannot be read.
    """
    text = repo.read_note(tag, baseline, ref=repo.openings_ref(tag)) or ""
    try:
        return [{"by": "", "clone": True, **json.loads(line)} for line in text.splitlines() if line]
    except (ValueError, TypeError):
        raise UserError(f"{repo.openings_ref(tag)} has a line that is no JSON object") from None


def add_opening(
    repo: Repo, tag: str, baseline: str, by: str, commits: Sequence[str], *, clone: bool
) -> None:
    """Add an opening to the notes, on disk when this returns.

    Raises:
        RepoError: git could not write it.
    """
    ref, told = repo.openings_ref(tag), {"by": by, "commits": list(commits), "clone": clone}
    before = repo.read_note(tag, baseline, ref=ref) or ""
    line = json.dumps({"time": round(time.time(), 3), **told})
    repo.add_note(tag, baseline, f"{before}{line}\n", ref=ref)
