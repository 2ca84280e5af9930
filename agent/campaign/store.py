"""One campaign: one tag, one branch, one folder ``campaigns/<tag>/``.

This module applies events to git and the file system. Each step is journalled before its effect, so
after a kill the journal holds the intended state; ``reconcile`` makes git and the folder match it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.campaign import events, snapshot
from agent.campaign.commits import (
    baseline_source,
    commit_candidate,
    commit_verdict,
    last_commit,
)
from agent.campaign.disk import Disk
from agent.campaign.files import JOURNAL, Unwritable, folder_of, write_atomically
from agent.campaign.journal import Journal, is_begun
from agent.campaign.notes import made_notes
from agent.campaign.reading import Curve, read_curve, refuse_without_journal, stem
from agent.campaign.records import Proof, Training, Trial
from agent.campaign.recovery import NOT_IN_GIT, bring_commits, bring_refs
from agent.campaign.results import is_due, write_tsv
from agent.campaign.state import fold
from agent.edits.blocks import Edit
from agent.edits.facts import credited, edit_facts
from agent.git import worktree
from agent.git.command import RepoError
from agent.git.repo import Move, Repo, changed_lines
from agent.settings import Settings
from trainer.errors import UserError
from trainer.measure import Measurement
from trainer.source import in_form_of, plain

log = logging.getLogger(__name__)


FAILURES_TO_TELL, LONGEST_PAUSE = 4, 60.0
"""Of writing notes that were put off: how many before that is said, and seconds between two."""


class Campaign:
    """The only writer of a campaign."""

    def __init__(self, repo: Repo, tag: str) -> None:
        """Open the campaign ``tag``, or begin it; takes the lock on its journal.

        Raises:
            RepoError: git refuses the tag. CampaignError: it has trials, but no journal.
            JournalError: locked, or the folder cannot be written.
        """
        self.repo, self.tag = repo, tag
        self.folder = folder_of(repo, tag)
        path = self.folder / JOURNAL
        refuse_without_journal(repo, tag)
        repo.check_tag(tag, new=not is_begun(path))
        state, place = snapshot.restore(path)
        self.journal = Journal(path, place)
        self.messages: list[str] = []
        self._lost: set[str] = set()
        if self.journal.torn is not None:
            self.messages.append(f"the journal's last line was cut off: see {self.journal.torn}")
        try:
            self.state = fold(self.journal.events, state)
        except UserError:
            self.close()
            raise
        self.journal.events.clear()  # they would fill the memory
        self._snapshot_at = place.lines
        ignore = self.folder.parent / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")  # keeps git status clean if campaigns/ is not ignored
        self._disk = Disk(self.folder, self.state)
        self.note_seconds, self._notes_due = 0.0, 0.0
        """Least seconds between two writings of notes, which cost as much as all else of a verdict;
        who sets it calls ``write_notes`` as often."""
        self._unnoted: dict[int, None] = {}
        """Trials whose note was put off, in order."""
        self._failures = 0
        """How often in a row these could not be written."""
        repo.reader.open()

    def close(self) -> None:
        self.repo.reader.close()
        self.journal.close()

    @property
    def is_new(self) -> bool:
        return not self.state.settings

    def take_messages(self) -> list[str]:
        """The lines that are to be shown; each is given once."""
        taken, self.messages = self.messages, []
        return taken

    def record(self, event: events.Known) -> None:
        """Append an event to the journal, then apply it to the state."""
        written = self.journal.append(event)
        self.state.apply(written)
        if isinstance(event, events.RunEnded) and not is_due(self.state):
            write_tsv(self.folder / "results.tsv", self.state)
        why = next((written.own[name] for name in ("words", "reason") if name in written.own), "")
        of = f" of trial {written.trial}" if isinstance(written, events.OfTrial) else ""
        log.info("event %d, %s%s%s", written.n, written.event, of, f": {why}" if why else "")

    def begin(self, settings: Settings, facts: Mapping[str, Any]) -> None:
        """Record a new campaign, whose branch starts at HEAD; ``reconcile`` makes it.

        Args:
            facts: what else is shared: the device, and the file that it starts from.
        """
        base = self.repo.head()
        self.repo.read_file(base)
        shared = {"tag": self.tag, "base": base, **settings.fixed(), **facts}
        self.record(events.CampaignBegun(settings=shared))

    def reconcile(self) -> None:
        """Make branch, refs, notes, worktree and files match the journal; safe to repeat.

        Raises:
            RepoError: the user has the branch checked out; or git has pruned a commit without which
                the campaign cannot go on, and it cannot be made again.
        """
        place = self.folder / "worktree"
        worktree.refuse_if_checked_out(self.repo, self.tag, place)
        for lock in worktree.remove_locks(self.repo, self.tag, place):
            self.messages.append(f"{lock} was left by a git that was killed: removed")
        self._bring_commits()
        trials, noted = self.state.trials, self.repo.noted(self.tag)
        before = self._show_in_git(trials, [t for t in trials if t.commit not in noted])
        kept = [trial.commit for trial in reversed(trials) if trial.kept and trial.commit]
        olds = [*filter(None, (before,)), *kept, self.state.settings["base"]]
        if message := worktree.add(self.repo, self.tag, place, olds):
            self.messages.append(message)
        write_tsv(self.folder / "results.tsv", self.state)

    def _bring_commits(self) -> None:
        self._lost, said = bring_commits(self.repo, self.tag, self.state)
        self.messages += said

    def _show_in_git(self, trials: Sequence[Trial], new: Sequence[Trial] = ()) -> str | None:
        """Bring refs and branch to where the journal says, and write the notes of ``new``.

        They are for people: where git cannot write them, that is told, and they are brought there
        at the next start.

        Returns:
            Where the branch was.
        """
        before, said, moves = None, list[str](), list[Move]()
        trials = [trial for trial in trials if last_commit(trial) not in self._lost]
        noted = [trial for trial in new if trial.commit and trial.commit not in self._lost]
        try:
            if len(noted) == 1:  # then it costs no git of its own
                moves.append(made_notes(self.repo, self.tag, self.state, [noted.pop()]))
        except RepoError as error:
            said.append(NOT_IN_GIT.format(error))
        try:
            before, told = bring_refs(self.repo, self.tag, self.state, trials, moves)
            self.messages += told
            for trial in noted:
                self.repo.update_refs([made_notes(self.repo, self.tag, self.state, [trial])])
        except RepoError as error:
            said.append(NOT_IN_GIT.format(error))
        self.messages += said[:1]  # one disk gives one reason
        return before

    def _follow(self, number: int, noted: Trial | None = None) -> None:
        """Show the last trials and this one in git, and the branch's new files in the worktree.

        Args:
            noted: whose note is to be written; its own may be put off, see ``note_seconds``.
        """
        is_due, new = time.monotonic() >= self._notes_due, list[Trial]()
        if noted is not None and (noted.trial != number or (is_due and not self._unnoted)):
            self._notes_due, new = time.monotonic() + self.note_seconds, [noted]
        elif noted is not None:
            self._unnoted[noted.trial] = None
        before = self._show_in_git(self._recent(self.state.trials[number]), new)
        if is_due:
            self.write_notes()
        champion = self.state.champion
        if champion is not None and before not in (None, champion.commit):
            olds = (str(before), champion.parent)
            said = worktree.sync(self.repo, self.folder / "worktree", champion.commit, *olds)
            if said:
                self.messages.append(said)

    def write_notes(self, *, last: bool = False) -> None:
        """Write the notes that were put off, all at once.

        If git cannot, such as while somebody else writes notes, it is tried again, less and less
        often, and said once it has failed a few times; if this is the ``last`` try, at once.
        """
        if not self._unnoted or (not last and time.monotonic() < self._notes_due):
            return
        trials = [self.state.trials[number] for number in self._unnoted]
        try:
            # A commit that is gone has its note when it is made again, at the next start.
            noted = [one for one in trials if one.commit and self.repo.blob(one.commit)]
            if noted:
                self.repo.update_refs([made_notes(self.repo, self.tag, self.state, noted)])
        except RepoError as error:
            self._failures += 1
            pause = min(LONGEST_PAUSE, self.note_seconds * 2**self._failures)
            self._notes_due = time.monotonic() + pause
            if last or self._failures == FAILURES_TO_TELL:
                self.messages.append(NOT_IN_GIT.format(error))
            if not last:
                return
        else:
            self._notes_due = time.monotonic() + self.note_seconds
        self._failures = 0
        self._unnoted.clear()

    def _recent(self, trial: Trial) -> list[Trial]:
        """The last trials and this one: what git may not show yet."""
        recent = self.state.trials[-2:]
        return recent if trial in recent else [*recent, trial]

    def curve(self, training: Training) -> Curve:
        return read_curve(self.folder, training)

    def source(self, commit: str) -> str:
        return plain(self._read(commit))

    def _read(self, commit: str) -> str:
        """A commit's train.py; what a clean-up took from git meanwhile is brought back."""
        try:
            return self.repo.read_file(commit)
        except RepoError:
            self._bring_commits()
            self._show_in_git(self.state.trials)
            return self.repo.read_file(commit)

    def baseline_source(self) -> str:
        """See ``commits.baseline_source``."""
        return baseline_source(self.source(self.state.settings["base"]), self.state.settings)

    def commit_candidate(
        self,
        parent: str,
        source: str,
        edit: Edit,
        digest: str,
        hunks: Sequence[str] = (),
        same_size: bool = True,
        number: int = -1,
        carried: bool = False,
    ) -> None:
        """Commit a candidate and record it; the trial's ref moves after the event.

        Args:
            carried: whether it is one that was made for another champion.
            number: of the trial; the last if it is not given.
            same_size: whether it has as many parameters as its parent.
        """
        trial = self.state.trials[number]
        original = self._read(parent)
        facts = edit_facts(original if trial.trial else source, source)  # a start is no edit
        written = in_form_of(original, source)  # so that git shows no other line as changed
        proposed = replace(
            trial,
            parent=parent,
            title=edit.title,
            hypothesis=edit.hypothesis,
            sign=edit.sign,
            reads_clock=facts.reads_clock,
        )
        commit = commit_candidate(self.repo, proposed, written)
        counts = (trial.category, edit.category, original, written, trial.categories)
        is_of_draw = trial.propensity and not trial.follows
        shows = credited(*counts) if is_of_draw else trial.category
        diff = self.repo.diff(parent, commit)
        added, removed = changed_lines(diff)
        self.write(trial.trial, "diff.patch", diff)
        made = events.CarriedOver if carried else events.CandidateMade
        self.record(
            made(
                trial=trial.trial,
                candidate=commit,
                parent=parent,
                title=edit.title,
                hypothesis=edit.hypothesis,
                sign=edit.sign,
                shows=shows if shows != trial.category else "",
                source_sha256=digest,
                hunks=tuple(hunks),
                lines_added=added,
                lines_removed=removed,
                size_delta=facts.size_delta,
                sets_numbers=facts.sets_numbers and same_size,
                hides_loss=facts.hides_loss,
                reads_clock=facts.reads_clock,
            )
        )
        self._follow(number)

    def record_training(self, training: Training, measured: Measurement) -> None:
        """Record a training that is over."""
        self.record(events.TrainingOver(training=training.with_result(measured)))

    def record_heat(
        self,
        trainings: Sequence[Training],
        *,
        proof: Proof = "",
        forecast: tuple[float, float] | None = None,
    ) -> None:
        """Record a heat that is over as one event."""
        self.record(
            events.HeatOver(
                trial=trainings[0].trial,
                trainings=tuple(trainings),
                proof=proof,
                forecast=forecast,
            )
        )

    def write_training(self, training: Training, measured: Measurement) -> None:
        """Store a training's curve, clock and output in the trial's folder, before it is recorded.

        Needs no baton (``executors.lanes``): no other lane writes this training's files.
        """
        name = stem(training)
        self.write(training.trial, f"{name}.trace", measured.trace, sync=True)
        # Without weights nothing else holds the curve until the note does.
        curve, sync = json.dumps(measured.curve), not measured.weights_sha256
        self.write(training.trial, f"{name}.curve.json", curve, sync=sync)
        log = "\n".join(part for part in (measured.output, measured.detail) if part)
        if log:
            self.write(training.trial, f"{name}.log", log)
        else:  # there may be that of one that was cut off
            with contextlib.suppress(OSError):
                (self.folder / "trials" / str(training.trial) / f"{name}.log").unlink()

    def weights(self, trial: int, seed: int) -> Path:
        """Path of the weights of a candidate's training; they are deleted after the verdict."""
        folder = self.folder / "trials" / str(trial)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"training-{seed}.safetensors"

    def conclude(self, verdict: events.Concluded) -> None:
        """Record the verdict of a trial with its final commit, then move the refs.

        Args:
            verdict: without commit and seconds.
        """
        trial = self.state.trials[verdict.trial]
        seconds = round(max(0.0, time.time() - trial.started), 3)  # a clock may be set back
        commit = ""
        if trial.candidate and trial.candidate not in self._lost:
            self._read(trial.candidate)
            commit = commit_verdict(self.repo, replace(trial, **verdict.own))
        self.record(verdict.model_copy(update={"commit": commit, "seconds": seconds}))
        trial = self.state.trials[verdict.trial]
        noted = self.state.champion if trial.is_null else None  # whose note counts null trials
        self._follow(trial.trial, noted or trial)
        self._disk.after(trial, self.state)
        if is_due(self.state):
            write_tsv(self.folder / "results.tsv", self.state)
        self._save_snapshot()

    def _save_snapshot(self) -> None:
        """Write a snapshot if the last one is old; without one, only the next start is slower."""
        place = self.journal.place
        if place.lines - self._snapshot_at >= snapshot.events_between(self._snapshot_at):
            self._snapshot_at = place.lines
            try:
                snapshot.save(self.journal.path, self.state, place)
            except Unwritable as error:
                log.warning("%s", error)

    def write(self, trial: int, name: str, text: str, *, sync: bool = False) -> None:
        """Write a file into the trial's folder. That it cannot be is only told: what the journal
        can still hold, such as a reply that was paid for, is worth more.

        Args:
            sync: whether it is to be there after a power cut, too: most are only for people.
        """
        path = self.folder / "trials" / str(trial) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # UTF-8 cannot encode the lone surrogates of a reply; the journal keeps the exact reply.
            write_atomically(path, text.encode("utf-8", "backslashreplace"), sync=sync)
        except OSError as error:
            log.warning("%s", error)

    def tell_again(self, trial: Trial) -> None:
        """Write the note of a trial that something was found out about after its verdict."""
        self._show_in_git(self._recent(trial), [trial])
