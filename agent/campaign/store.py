"""One campaign: one tag, one branch, one folder ``campaigns/<tag>/``.

This module applies events to git and the file system. Each step is journalled before its effect, so
after a kill the journal holds the intended state; ``reconcile`` makes git and the folder match it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from agent.campaign import events, snapshot
from agent.campaign.disk import Disk
from agent.campaign.files import JOURNAL, Unwritable, folder_of, write_atomically
from agent.campaign.journal import Journal
from agent.campaign.lock import holder
from agent.campaign.records import Proof, Training, Trial
from agent.campaign.results import write_tsv
from agent.campaign.state import State, fold, rebuild_prior
from agent.edits.blocks import Edit
from agent.edits.constants import constants as known_constants
from agent.edits.constants import set_constants
from agent.edits.facts import edit_facts
from agent.git import worktree
from agent.git.message import commit_message
from agent.git.repo import Repo
from agent.prior import Prior
from agent.program import parse_program
from agent.settings import FIXED, Settings
from trainer.errors import UserError
from trainer.measure import Measurement
from trainer.source import in_form_of, plain

log = logging.getLogger(__name__)
Curve = Sequence[tuple[float, int, float]]
"""(seconds, step, nats per token), as a training reported them."""
_CURVE: TypeAdapter[Curve] = TypeAdapter(Curve)


class CampaignError(UserError):
    """The campaign cannot go on; the message says why and what to do."""


def last_active(repo: Repo) -> str:
    """Tag of the campaign whose journal was written last.

    Raises:
        CampaignError: there is no campaign yet.
    """
    found = (repo.root / "campaigns").glob(f"*/{JOURNAL}")
    journals = sorted(
        (path for path in found if path.stat().st_size), key=lambda path: path.stat().st_mtime
    )
    if not journals:
        raise CampaignError(f"no campaign in {repo.root} yet; start one: python -m agent run")
    return journals[-1].parent.name


def load(repo: Repo, tag: str) -> State:
    """A campaign's state, for reading.

    Raises:
        CampaignError: no such campaign.
    """
    state = peek(repo, tag)
    if not state.settings:
        known = sorted(p.parent.name for p in (repo.root / "campaigns").glob(f"*/{JOURNAL}"))
        there_are = f"; there are: {', '.join(known)}" if known else ""
        raise CampaignError(f"there is no campaign {tag!r} in {repo.root}{there_are}")
    return state


def peek(repo: Repo, tag: str) -> State:
    """A campaign's state, empty if there is no such campaign."""
    return snapshot.read_state(folder_of(repo, tag) / JOURNAL)


def prior_of(state: State) -> Prior:
    """The prior after all rewards of the campaign."""
    if not state.program_text:
        raise CampaignError("this campaign has not begun its first trial yet; run it again")
    names = parse_program(state.program_text, lenient=True).names
    return rebuild_prior(names, state.settings["seed"], state.finished)


def running(repo: Repo, tag: str) -> int | None:
    """Process id of the run under way, None if there is none."""
    return holder(folder_of(repo, tag) / JOURNAL)


def stem(training: Training) -> str:
    """Name, without ending, of the files that a training left in its trial's folder."""
    return f"{'champion' if training.role == 'champion' else 'training'}-{training.seed}"


def read_trace(repo: Repo, tag: str, trial: Trial, seed: int) -> str | None:
    """The recorded clock of a candidate: from the trial's folder, else from its commit's note."""
    path = folder_of(repo, tag) / "trials" / str(trial.trial) / f"training-{seed}.trace"
    if path.exists():
        return path.read_text(encoding="ascii")
    note = repo.read_note(tag, trial.commit) if trial.commit else None
    trace: str | None = json.loads(note)["traces"].get(str(seed)) if note else None
    return trace


def read_curve(folder: Path, training: Training) -> Curve:
    """What a training logged, from the campaign's folder; empty if it is not whole or not there."""
    path = folder / "trials" / str(training.trial) / f"{stem(training)}.curve.json"
    try:
        return _CURVE.validate_json(path.read_bytes())
    except (OSError, ValueError):
        return []


class Campaign:
    """The only writer of a campaign."""

    def __init__(self, repo: Repo, tag: str) -> None:
        """Open the campaign ``tag``, or begin it; takes the lock on its journal.

        Raises:
            RepoError: git refuses the tag. JournalError: locked, or the folder cannot be written.
        """
        self.repo, self.tag = repo, tag
        self.folder = folder_of(repo, tag)
        path = self.folder / JOURNAL
        repo.check_tag(tag, new=not path.exists() or not path.stat().st_size)
        state, place = snapshot.restore(path)
        self.journal = Journal(path, place)
        self.messages: list[str] = []
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

    def close(self) -> None:
        self.journal.close()

    @property
    def is_new(self) -> bool:
        return not self.state.settings

    def record(self, event: events.Known) -> None:
        """Append an event to the journal, then apply it to the state."""
        written = self.journal.append(event)
        self.state.apply(written)
        why = next((written.own[name] for name in ("words", "reason") if name in written.own), "")
        of = f" of trial {written.trial}" if isinstance(written, events.OfTrial) else ""
        log.info("event %d, %s%s%s", written.n, written.event, of, f": {why}" if why else "")

    def begin(self, settings: Settings, facts: Mapping[str, Any]) -> None:
        """Record a new campaign that starts from HEAD; ``reconcile`` makes its branch."""
        base = self.repo.head()
        self.repo.read_file(base)
        shared = {"tag": self.tag, "base": base, **settings.fixed(), **facts}
        self.record(events.CampaignBegun(settings=shared))

    def reconcile(self) -> None:
        """Make branch, refs, worktree and files match the journal; safe to repeat."""
        self.repo.start_branch(self.tag, self.state.settings["base"])
        for trial in self.state.trials[-2:]:
            self._move_refs(trial)
            if trial.commit and self.repo.read_note(self.tag, trial.commit) is None:
                self.repo.add_note(self.tag, trial.commit, self._note(trial))
        message = worktree.add(self.repo, self.tag, self.folder / "worktree")
        if message:
            self.messages.append(message)
        write_tsv(self.folder / "results.tsv", self.state)

    def curve(self, training: Training) -> Curve:
        return read_curve(self.folder, training)

    def source(self, commit: str) -> str:
        return plain(self.repo.read_file(commit))

    def baseline_source(self, constants: Mapping[str, Any]) -> str:
        """HEAD's train.py with those of the preset's constants that it names written into it."""
        source = self.source(self.state.settings["base"])
        named = {constant.name for constant in known_constants(source)}
        blocks = set_constants(source, {k: v for k, v in constants.items() if k in named})
        return Edit("baseline", "", "", blocks).apply(source) if blocks else source

    def commit_candidate(
        self,
        parent: str,
        source: str,
        edit: Edit,
        digest: str,
        hunks: Sequence[str] = (),
        same_size: bool = True,
    ) -> None:
        """Commit a candidate and record it; the trial's ref moves after the event.

        Args:
            same_size: whether it has as many parameters as its parent.
        """
        trial = self.state.trials[-1]
        original = self.repo.read_file(parent)
        facts = edit_facts(original, source)
        trailers = {
            "Trial": str(trial.trial),
            "Category": edit.category,
            "Hypothesis": edit.hypothesis,
        }
        message = commit_message(
            edit.category, edit.title, None, None, None, trailers, body=edit.hypothesis
        )
        written = in_form_of(original, source)  # so that git shows no other line as changed
        commit = self.repo.commit_file(parent, written, message, time.time())
        added, removed = self.repo.numstat(parent, commit)
        self.write(trial.trial, "diff.patch", self.repo.diff(parent, commit))
        self.record(
            events.CandidateMade(
                trial=trial.trial,
                candidate=commit,
                parent=parent,
                title=edit.title,
                hypothesis=edit.hypothesis,
                source_sha256=digest,
                hunks=tuple(hunks),
                lines_added=added,
                lines_removed=removed,
                size_delta=facts.size_delta,
                sets_numbers=facts.sets_numbers and same_size,
                hides_loss=facts.hides_loss,
            )
        )
        self._move_refs(self.state.trials[-1])

    def record_training(self, training: Training, measured: Measurement) -> None:
        """Record a training that is over."""
        self._write_files(training, measured)
        self.record(events.TrainingOver(training=training.with_result(measured)))

    def record_heat(
        self,
        trainings: Sequence[Training],
        measured: Sequence[Measurement | None],
        *,
        proof: Proof = "",
        forecast: tuple[float, float] | None = None,
    ) -> None:
        """Record a heat that is over as one event; a training without a measurement was reused."""
        for training, found in zip(trainings, measured, strict=True):
            if found is not None:
                self._write_files(training, found)
        self.record(
            events.HeatOver(
                trial=trainings[0].trial,
                trainings=tuple(trainings),
                proof=proof,
                forecast=forecast,
            )
        )

    def _write_files(self, training: Training, measured: Measurement) -> None:
        """Store a training's curve, clock and output in the trial's folder."""
        name = stem(training)
        self.write(training.trial, f"{name}.trace", measured.trace)
        self.write(training.trial, f"{name}.curve.json", json.dumps(measured.curve))
        log = "\n".join(part for part in (measured.output, measured.detail) if part)
        if log:
            self.write(training.trial, f"{name}.log", log)

    def weights(self, trial: int, seed: int) -> Path:
        """Path of the weights of a candidate's training; they are deleted after the verdict."""
        folder = self.folder / "trials" / str(trial)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"training-{seed}.safetensors"

    def conclude(self, verdict: events.Concluded) -> None:
        """Record the verdict of the open trial with its final commit, then move the refs.

        Args:
            verdict: without commit and seconds.
        """
        trial = self.state.trials[-1]
        seconds = round(max(0.0, time.time() - trial.started), 3)  # a clock may be set back
        commit = ""
        if trial.candidate:
            message = self._final_message(trial, verdict)
            commit = self.repo.recommit(trial.candidate, message)
        self.record(verdict.model_copy(update={"commit": commit, "seconds": seconds}))
        trial = self.state.trials[-1]
        parent = trial.parent
        self._move_refs(trial)
        self._disk.after(trial, self.state)
        if commit:
            self.repo.add_note(self.tag, commit, self._note(trial))
        if trial.kept and commit:
            left_alone = worktree.sync(self.repo, self.folder / "worktree", parent, commit)
            if left_alone:
                self.messages.append(left_alone)
        write_tsv(self.folder / "results.tsv", self.state)
        self._save_snapshot()

    def _save_snapshot(self) -> None:
        """Write a snapshot if the last one is old; without one, only the next start is slower."""
        place = self.journal.place
        if place.lines - self._snapshot_at >= snapshot.EVENTS:
            self._snapshot_at = place.lines
            try:
                snapshot.save(self.journal.path, self.state, place)
            except Unwritable as error:
                log.warning("%s", error)

    def write(self, trial: int, name: str, text: str) -> None:
        """Write a file into the trial's folder."""
        path = self.folder / "trials" / str(trial) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # UTF-8 cannot encode the lone surrogates of a reply; the journal keeps the exact reply.
        write_atomically(path, text.encode("utf-8", "backslashreplace"))

    def _final_message(self, trial: Trial, verdict: events.Concluded) -> str:
        candidates, audit = trial.of("candidate"), trial.audit
        scores = [t.val_bpb for t in candidates]
        trailers = {
            "Trial": str(trial.trial),
            "Category": trial.category,
            "Hypothesis": trial.hypothesis,
            "Proposer": trial.proposer,
            "Val-Bpb": _interval(verdict.val_bpb, verdict.val_bpb_half)
            or f"none ({verdict.status})",
            "Gain": _interval(verdict.gain, verdict.gain_half) or "none",
            "Seeds": " ".join(str(t.seed) for t in candidates),
            "Scores": " ".join(f"{s:.6f}" if s is not None else "none" for s in scores),
            "Differences": " ".join(f"{d:+.6f}" for d in trial.differences) or "none",
            "Audit": f"prefixes alone, bound {audit.leak_bound_bpb:.6f}" if audit else "usual",
            "Verdict": f"{verdict.verdict}: {verdict.words}",
            "Program": trial.program,
            "Parent": trial.parent,
        }
        return commit_message(
            trial.category,
            trial.title,
            verdict.val_bpb,
            verdict.val_bpb_half,
            verdict.gain,
            trailers,
            body=trial.hypothesis,
        )

    def _note(self, trial: Trial) -> str:
        """Everything that is needed to replay the commit in another clone, as JSON."""
        traces = {}
        for training in trial.trainings:
            if training.role == "candidate":
                traces[str(training.seed)] = read_trace(self.repo, self.tag, trial, training.seed)
        settings = self.state.settings
        return json.dumps(
            {
                "trial": trial.trial,
                "verdict": trial.verdict,
                "settings": {name: settings.get(name) for name in FIXED},
                "trainings": [asdict(t) for t in trial.trainings],
                "traces": traces,
            },
            indent=1,
        )

    def _move_refs(self, trial: Trial) -> None:
        """Move the trial's ref, and the branch if it was kept, in one transaction."""
        ref = self.repo.trial_ref(self.tag, trial.trial)
        if trial.candidate and not trial.commit:
            before = [s.candidate for s in trial.sent_back if s.candidate != trial.candidate]
            self.repo.update_refs([(ref, trial.candidate, before[-1] if before else None)])
        elif trial.commit:
            changes: list[tuple[str, str, str | None]] = [(ref, trial.commit, trial.candidate)]
            branch = self.repo.branch(self.tag)
            if trial.kept and not self._is_behind(trial):
                changes.append((branch, trial.commit, trial.parent))
            self.repo.update_refs(changes)

    def _is_behind(self, trial: Trial) -> bool:
        """Whether a later trial was kept, so that the branch has already moved further."""
        later = self.state.trials[trial.trial + 1 :]
        return any(one.kept and not one.is_null for one in later)


def _interval(value: float | None, half: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" + (f" ± {half:.6f}" if half is not None else "")
