"""Take what was submitted: find what it was made from, begin its trial, propose its change."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path

from agent.campaign import events
from agent.campaign.records import Trial
from agent.campaign.submissions import Submission, discard, waiting
from agent.edits.blocks import HYPOTHESIS_LENGTH, TITLE_LENGTH
from agent.edits.checks import sections_touched
from agent.git.command import RepoError
from agent.git.merge import merge
from agent.proposers.base import NothingToPropose, Proposal
from agent.steps.runtime import Runtime
from trainer import contract
from trainer.errors import UserError
from trainer.source import not_utf8, plain
from trainer.untrusted import one_line

CATEGORY = "submitted"
"""Of what changes more than one section of train.py."""
COMMON = 0.5
"""A file that shares less of its lines with another was not made from it."""
CHAMPION, NONE = "the champion", "no train.py that the campaign knows"


def read_source(path: Path, max_seq_len: int) -> str:
    """A person's train.py, in its plain form.

    Raises:
        UserError: it is missing, no text or no train.py.
    """
    if not path.is_file():
        why = "it is a folder, give a file in it" if path.is_dir() else "there is no such file"
        raise UserError(f"{path}: {why}")
    if (size := path.stat().st_size) > 2 * contract.MAX_SOURCE_BYTES:  # CRLF line ends included
        most = contract.MAX_SOURCE_BYTES
        raise UserError(f"{path} is no train.py: it has {size} bytes; at most {most} are allowed")
    try:
        source = plain(path.read_bytes().decode("utf-8"))
        contract.read(source, max_seq_len)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {not_utf8(error)}") from None
    except contract.ContractBroken as broken:
        raise UserError(f"{path} is no train.py: {broken}") from None
    return source


def read_file(path: Path, hypothesis: str, max_seq_len: int) -> Submission:
    """A person's train.py, to be tried.

    Raises:
        UserError: as of ``read_source``.
    """
    source = read_source(path, max_seq_len)
    title = one_line(hypothesis, TITLE_LENGTH) or path.name
    why = hypothesis.strip() or f"{path.name}, edited by hand; no reason was given."
    return Submission(source, title, why, "person")


def left(runtime: Runtime, only: Collection[str] | None) -> list[Submission]:
    """What waits, or ``only`` some of it. Files of trials that have begun, left over by a kill, are
    deleted."""
    if not (found := waiting(runtime.campaign.folder)):
        return []
    begun = {trial.submitted.get("name") for trial in runtime.campaign.state.trials}
    for one in found:
        if one.name in begun:
            discard(runtime.campaign.folder, one.name)
    return [one for one in found if one.name not in begun and (only is None or one.name in only)]


def begin_submitted(runtime: Runtime, submission: Submission) -> None:
    """Begin its trial: the event holds all of it, then its file is deleted."""
    champion = runtime.campaign.source(runtime.champion.commit)
    if submission.base is None:
        of, base = _base(runtime, champion, submission.source)
        submission = replace(submission, base=base)
        if of != CHAMPION:
            done = f"merged into trial {runtime.champion.trial}'s file" if base else "as it stands"
            runtime.display.message(f"{one_line(submission.title)}: made from {of}, {done}")
            why = f"From {of}, {done}: {submission.hypothesis}"
            submission = replace(submission, hypothesis=why)
    section, (merged, _) = CATEGORY, merge(champion, submission.base or champion, submission.source)
    with contextlib.suppress(SyntaxError, ValueError, RecursionError):  # it will be rejected
        touched = sections_touched(champion, merged) - {""}
        section = next(iter(touched)) if len(touched) == 1 else CATEGORY
    runtime.campaign.record(
        events.TrialBegun(
            trial=len(runtime.campaign.state.trials),
            category=submission.category or section,
            proposer=submission.origin,
            title=submission.title,
            submitted=asdict(submission),
            categories=runtime.program.names,
            **runtime.terms,
        )
    )
    discard(runtime.campaign.folder, submission.name)


def _base(runtime: Runtime, champion: str, source: str) -> tuple[str, str]:
    """What a file was made from, in words and whole ("" if nothing here): the most similar of the
    champions, newest first, and of the start; of HEAD, too, if the start is not another file. What
    is the same is not it."""
    state, found = runtime.campaign.state, {CHAMPION: champion}
    kept = [trial for trial in reversed(state.real) if trial.kept]
    commits = {f"trial {trial.trial}": trial.commit for trial in kept[1:]}
    if start := state.settings.get("start_source"):
        found["the start"] = start
    else:
        commits |= {"HEAD": runtime.campaign.repo.head(), "the start": state.settings["base"]}
    for of, commit in commits.items():
        with contextlib.suppress(RepoError):  # pruned, or HEAD has none any more
            found[of] = runtime.campaign.source(commit)
    shares, own = {NONE: COMMON}, source.split("\n")
    for of, text in found.items():
        if text != source:
            shares[of] = difflib.SequenceMatcher(None, text.split("\n"), own, False).ratio()
    of = max(shares, key=lambda of: shares[of])
    return of, found.get(of, "")


def propose_submitted(trial: Trial, champion: str) -> Proposal:
    """The change of a submission, merged into the champion.

    Raises:
        NothingToPropose: the champion has changed the same lines.
    """
    own = trial.submitted
    text, conflicts = merge(champion, own["base"] or champion, own["source"])
    if conflicts:
        raise NothingToPropose(f"the champion has changed it, too: {'; '.join(conflicts)}")
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])  # the longest
    reply = (
        f"category: {trial.category}\n"
        f"title: {one_line(own['title'], TITLE_LENGTH)}\n"
        f"hypothesis: {one_line(own['hypothesis'], HYPOTHESIS_LENGTH)}\n\n"
        f"{fence}python\n{text}{fence}\n"
    )
    return Proposal(own["origin"], reply, envelope="file")
