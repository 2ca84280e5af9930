"""Proposals from a language model.

The order of the prompt suits prompt caches: rules, program and contract; then train.py; then the
history, append-only, with one part per trial; then the current request.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from agent.campaign.records import Trial
from agent.edits.blocks import Envelope
from agent.models.catalog import Catalog, load_catalog
from agent.models.types import Model, OnText, Part, Prompt, Reply
from agent.proposers.base import Context, Proposal, ReplyUnusable
from agent.proposers.prompts import PROMPTS, templates
from trainer.contract import MAX_SOURCE_BYTES
from trainer.presets import LADDER
from trainer.untrusted import printable

MAX_TOKENS = 32_000
"""Limit for a reply; it includes reasoning, so models that reason need a large one."""
HISTORY_TOKENS = 12_000
CHARACTERS_PER_TOKEN = 3
"""A low estimate, so that the history is too short rather than too long."""
TEXT_LENGTH = 300

ShownOutcome = Literal["baseline", "kept", "near", "reverted", "abandoned", "failed", "rejected"]


@dataclass
class LLMProposer:
    """Asks a model, one edit at a time."""

    model: Model
    prompts_dir: Path = PROMPTS
    max_tokens: int = MAX_TOKENS
    history_tokens: int = HISTORY_TOKENS
    catalog: Catalog = field(default_factory=lambda: load_catalog(os.environ))
    on_text: OnText | None = None
    cancel: threading.Event | None = None
    name: str = field(default="llm", init=False)
    attempts: int = field(default=3, init=False)

    def __post_init__(self) -> None:
        self._templates = templates(self.prompts_dir)

    def covers(self, context: Context) -> bool:
        """A model has ideas for everything."""
        return True

    def propose(self, context: Context) -> Proposal:
        """Ask for one edit; ``context.feedback`` goes back with the replies that it is about.

        Raises:
            ReplyUnusable: the reply is cut off, declined or empty.
            Unavailable, Misconfigured, Cancelled: see ``agent.models.types``.
        """
        prompt = self.prompt(context)
        reply = self.model.complete(
            prompt, max_tokens=self.max_tokens, on_text=self.on_text, cancel=self.cancel
        )
        proposal = Proposal(
            proposer=self.name,
            reply=reply.text,
            prompt=prompt.text,
            model=reply.model,
            usage=asdict(reply.usage) if reply.usage is not None else None,
            cost_usd=self.catalog.cost(reply.usage, self.model.name),
            envelope=self._envelope(context),
        )
        fault = self._fault(reply)
        if fault:
            raise ReplyUnusable(fault, proposal)
        return proposal

    def _envelope(self, context: Context) -> Envelope:
        """The format to ask for: the one that this campaign found, else the one in the catalog.

        For a recording, the catalog's entry of the recorded model is used.
        """
        recorded = getattr(self.model, "recorded", self.model.name)
        known = self.catalog.entry(recorded).envelope
        found = context.envelopes.get(self.model.name, known)
        return "file" if found == "file" else "edits"

    def _fault(self, reply: Reply) -> str:
        """Why the reply must not be applied, "" if it may be. It checks the stop reason
        first: a reply that was cut off or declined can still look like an edit."""
        if reply.stop_reason == "length":
            told = f" of {reply.usage.output} tokens" if reply.usage is not None else ""
            return f"the reply{told} was cut off at its limit before its end; think and write less"
        if reply.stop_reason == "refusal":
            return f"the model declined to answer ({reply.detail or 'no reason given'})"
        if reply.stop_reason == "other":
            return f"the reply ended early ({reply.detail or 'no reason given'})"
        return "" if reply.text.strip() else "the reply is empty"

    def prompt(self, context: Context) -> Prompt:
        """The prompt; its parts that change least come first.

        Raises:
            Misconfigured: a template is missing or broken.
        """
        program, envelope = context.program, self._envelope(context)
        category = next(
            (c for c in program.categories if c.name == context.category),
            {"name": context.category, "description": ""},
        )
        return Prompt(
            (
                Part(
                    "rules",
                    self._templates.render(
                        "rules",
                        ladder=LADDER,
                        max_source_bytes=MAX_SOURCE_BYTES,
                        prose=program.prose,
                        envelope=envelope,
                    ),
                    mark=True,
                    fixed=program.prose,
                ),
                Part(
                    "train.py",
                    self._templates.render("train", facts=context.facts, source=context.source),
                    mark=True,
                    fixed=context.source,
                ),
                *self._history(context.history),
                Part(
                    "focus",
                    self._templates.render(
                        "focus",
                        category=category,
                        prior=context.prior,
                        notes=program.notes,
                        noise=context.noise,
                        feedback=[
                            {"reply": reply, "reason": reason}
                            for reply, reason in zip_longest(
                                context.turned_down, context.feedback, fillvalue=""
                            )
                        ],
                        envelope=envelope,
                    ),
                    fixed=f"{context.category}\n{program.notes}",
                ),
            ),
            trial=context.trial,
            attempt=len(context.feedback),
        )

    def _history(self, trials: Sequence[Trial]) -> list[Part]:
        views = [view(trial) for trial in trials]
        whole = [self._templates.render("trial", t=v, brief=False) for v in views]
        brief = [self._templates.render("trial", t=v, brief=True) for v in views]
        left_out, shortened = compress(
            [len(text) for text in whole],
            [len(text) for text in brief],
            [v.outcome in ("kept", "baseline") for v in views],
            self.history_tokens * CHARACTERS_PER_TOKEN,
        )
        head = self._templates.render("history", left_out=_summary([views[i] for i in left_out]))
        parts = [Part("history", head)]
        for i, v in enumerate(views):
            if i not in left_out:
                text = brief[i] if i < shortened else whole[i]
                parts.append(Part(f"trial {v.number}", text, mark=True))
        return parts


@dataclass(frozen=True)
class View:
    """A trial as it is shown to the model. Texts are one printable line each."""

    number: int
    category: str
    outcome: ShownOutcome
    gain: float
    """In bits per byte, to two digits, so that the search does not overfit the validation text."""
    half: float
    """Half-width of its 95 % interval."""
    heats: int
    """Number of heats on which the gain is based."""
    status: str
    title: str
    hypothesis: str
    reason: str


def view(trial: Trial) -> View:
    """What the model is shown of a finished trial."""
    gain = _two_digits(trial.gain)
    reason = ""
    outcome: ShownOutcome
    if trial.trial == 0:
        outcome = "baseline"
    elif trial.verdict == "keep":
        outcome = "kept"
    elif trial.verdict == "rejected":
        outcome = "rejected"
        reason = (trial.rejections[-1] if trial.rejections else trial.words).partition("\n")[0]
    elif trial.status == "abandoned":
        outcome = "abandoned"
    elif trial.status not in ("", "ok"):
        outcome = "failed"
        failed = [t for t in trial.trainings if t.status == trial.status]
        reason = failed[-1].reason.strip().rpartition("\n")[2] if failed else trial.words
    else:
        outcome = "near" if gain > 0 and trial.differences else "reverted"
    return View(
        number=trial.trial,
        category=trial.category,
        outcome=outcome,
        gain=gain,
        half=_two_digits(trial.gain_half),
        heats=len(trial.differences),
        status=trial.status,
        title=_line(trial.title),
        hypothesis=_line(trial.hypothesis),
        reason=_line(reason),
    )


def _two_digits(value: float | None) -> float:
    return float(f"{value or 0.0:.2g}")


def compress(
    whole: Sequence[int], brief: Sequence[int], protected: Sequence[bool], limit: int
) -> tuple[frozenset[int], int]:
    """Which trials to leave out, and before which one trials are shortened.

    Trials are added in order, in full. When their size exceeds the limit, the oldest are shortened,
    then left out, until half of the limit is free. So the text stays the same for many trials.

    Args:
        whole, brief: characters of each trial, in full and shortened.
        protected: which are never left out.
        limit: characters.
    """
    size = shortened = oldest = 0
    left_out: set[int] = set()
    for i, length in enumerate(whole):
        size += length
        if size <= limit:
            continue
        while shortened < i and size > limit // 2:
            size += brief[shortened] - whole[shortened]
            shortened += 1
        while oldest < shortened and size > limit // 2:
            if not protected[oldest]:
                size -= brief[oldest]
                left_out.add(oldest)
            oldest += 1
    return frozenset(left_out), shortened


def _summary(views: Sequence[View]) -> list[Mapping[str, Any]]:
    """Counts by category."""

    def count(category: str, among: Callable[[View], bool]) -> int:
        return sum(1 for v in views if v.category == category and among(v))

    return [
        {
            "category": category,
            "trials": count(category, lambda v: True),
            "near": count(category, lambda v: v.outcome == "near"),
            "failed": count(category, lambda v: v.outcome in ("failed", "rejected")),
        }
        for category in dict.fromkeys(v.category for v in views)
    ]


def _line(text: str) -> str:
    return " ".join(printable(text.replace("\n", " "), TEXT_LENGTH).split())
