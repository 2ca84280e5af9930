"""Bring git to what the journal says, after a kill, a clean-up or the user's own hands.

The journal is the truth. The branch and the refs are for people, and keep git from pruning the
commits; so they are put back, and a commit that somebody put on them is kept beside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from agent.campaign.commits import candidates, commit_again, last_commit
from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.git.command import RepoError
from agent.git.repo import Move, Repo

NOT_IN_GIT = "not all of the campaign is in git until it resumes: {}"


def bring_commits(repo: Repo, tag: str, state: State) -> tuple[set[str], list[str]]:
    """Make again the commits of trials that git has pruned, as far as the journal allows.

    Returns:
        What is lost for good, and lines to show.

    Raises:
        RepoError: a commit is lost without which the campaign cannot go on.
    """
    base, champion = state.settings["base"], state.champion
    trials = [trial for trial in state.trials if last_commit(trial)]
    last = [last_commit(champion)] if champion is not None else []
    missing = set(repo.missing([base, *map(last_commit, trials), *last]))
    gone = [trial for trial in trials if last_commit(trial) in missing]
    for trial in gone:
        commit_again(repo, state.settings, trial)
    hashes = set(repo.missing([base, *map(last_commit, gone)])) if missing else missing
    lost = [trial for trial in gone if last_commit(trial) in hashes]
    needed = [("that it started from", base)]
    needed += [("of its champion", commit) for commit in last]
    opened = [last_commit(trial) for trial in state.open_trials if not trial.wants_proposal]
    needed += [("of its open trial", commit) for commit in opened]
    for words, commit in needed:
        if commit in hashes:
            refs = f"{repo.folder(tag)}/*"
            raise RepoError(
                f"campaign {tag} cannot go on: git has pruned the commit {words} ({commit[:12]}), "
                "and the journal does not have it whole; start another --tag, or get it from a "
                f"clone that has it: git fetch CLONE '+{refs}:{refs}'"
            )
    said = []
    if len(gone) > len(lost):
        count = len(gone) - len(lost)
        said.append(f"{count} of the campaign's commits were gone from git: made again")
    if lost:
        numbers = ", ".join(str(trial.trial) for trial in lost)
        said.append(f"the commits of these trials are gone from git for good: {numbers}")
    return hashes, said


def bring_refs(
    repo: Repo, tag: str, state: State, trials: Sequence[Trial], beside: Sequence[Move] = ()
) -> tuple[str | None, list[str]]:
    """Bring the refs of ``trials``, and the branch, to where the journal says.

    Args:
        beside: moves of other refs, which are made in passing.

    Returns:
        Where the branch was, and lines to show.

    Raises:
        RepoError: git could not write the branch; then all are as they were.
    """
    base, champion, branch = state.settings["base"], state.champion, repo.branch(tag)
    wanted = {repo.base_ref(tag): base, branch: champion.commit if champion is not None else base}
    wanted |= {repo.trial_ref(tag, t.trial): last_commit(t) for t in trials if last_commit(t)}
    sent = {
        f"{repo.folder(tag)}/sent-back/{trial.trial}-{k}": commit
        for trial in trials
        for k, commit in enumerate(candidates(trial)[:-1], 1)
    }
    pruned = set(repo.missing(list(sent.values()))) if sent else set()
    wanted |= {ref: commit for ref, commit in sent.items() if commit not in pruned}
    found = repo.named(*wanted) if len(trials) <= 3 else repo.refs(branch, repo.folder(tag))
    is_ours = _ours(state, trials)
    others = ((ref, old) for ref, old in found.items() if ref in wanted and not is_ours(old))
    if lost := {ref: old for ref, old in others if repo.resolve(old) is None}:
        repo.delete_refs(lost)
        found = {ref: old for ref, old in found.items() if ref not in lost}
    moves = [(ref, new, found.get(ref)) for ref, new in wanted.items() if found.get(ref) != new]
    strange = {ref: old for ref, _, old in moves if old is not None and not is_ours(old)}
    kept = {old: f"{repo.folder(tag)}/moved-{old[:12]}" for old in strange.values()}
    said = []
    first = [move for move in moves if move[0] in (branch, repo.base_ref(tag))]
    rest = [move for move in moves if move not in first]
    for part in filter(None, (first, [*rest, *beside])):
        olds = {strange[ref] for ref, _, _ in part if ref in strange}
        try:
            repo.update_refs([(kept[old], old, None) for old in olds] + part)
        except RepoError as error:  # a ref of the user's may be in the way of a trial's
            if part is first:
                raise
            said.append(NOT_IN_GIT.format(error))
            moves = first
            if rest and beside:  # they may be in nobody's way
                repo.update_refs(beside)
    for ref, _, _ in moves:
        if ref in strange:
            old = strange[ref]
            who = "the campaign itself, later than its journal (an older copy of it?)"
            who = who if repo.is_own(old) else "somebody"
            said.append(
                f"{_short(ref)} was moved to {old[:12]} by {who}: that commit is kept as "
                f"{kept[old]}, and the campaign goes on from {wanted[ref][:12]}"
            )
    before = found.get(branch)
    if not state.trials:
        return before, said
    # A kill before the last verdict was in git leaves branch and trial's ref behind, together.
    last = {repo.trial_ref(tag, t.trial): last_commit(t) for t in _last(state)}
    last = {ref: commit for ref, commit in last.items() if ref in wanted or not commit}
    cut_off = any(found.get(ref, "") != commit for ref, commit in last.items())
    if before not in (None, wanted[branch]) and is_ours(str(before)) and not cut_off:
        said.append(f"{_short(branch)} was moved back by somebody: it is at the champion again")
    gone = {ref for ref, _, old in moves if old is None} - last.keys() - sent.keys()
    if gone:
        said.append(f"gone from git and put back: {len(gone)} of the campaign's refs")
    return before, said


def _last(state: State) -> list[Trial]:
    """The trials that a kill may have left without their last ref."""
    return [*state.open_trials, *state.finished[-1:]]


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/")


def _ours(state: State, trials: Sequence[Trial]) -> Callable[[str], bool]:
    """Whether a commit is the campaign's. Nearly always it is one of these trials', the champion's
    or its base, and not all are looked through."""
    near = own_commits(state, [*trials, *filter(None, [state.champion])])
    all_of_it = functools.cache(lambda: own_commits(state))
    return lambda commit: commit in near or commit in all_of_it()


def own_commits(state: State, trials: Sequence[Trial] | None = None) -> set[str]:
    """All commits that the campaign has made for ``trials``, or for any if none are given, and the
    one that it started from."""
    found = {state.settings["base"]}
    for trial in state.trials if trials is None else trials:
        found |= {
            trial.candidate,
            trial.commit,
            *trial.carried,
            *(sent.candidate for sent in trial.sent_back),
        }
    return found - {""}
