"""Proposals from a language model.

The order of the prompt suits prompt caches: rules, program and contract; then train.py; then the
history, append-only, with one part per trial; then the current request.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

from agent.campaign.notebook import CHARACTERS, HEADINGS
from agent.campaign.records import Trial
from agent.edits.blocks import Envelope
from agent.edits.edited import as_reply
from agent.git.command import inherited_environment
from agent.models.catalog import Catalog, load_catalog
from agent.models.command.words import ANSWER, SHORT, holds_edit
from agent.models.secrets import quote, scrub, secret_values
from agent.models.types import Model, Part, Prompt, Reply, Unavailable, Usage
from agent.program import BUDGET
from agent.proposers.base import Context, Proposal, ReplyUnusable
from agent.proposers.judging import Judging
from agent.proposers.lessons import by_todays_name, lessons, one_way, view
from agent.proposers.near_misses import near_misses
from agent.proposers.notebook import changed_lines
from agent.proposers.prompts import PROMPTS, templates
from trainer.contract import MAX_SOURCE_BYTES
from trainer.presets import LADDER, find_preset, wall_cap

MAX_TOKENS = 32_000
"""Limit for a reply; it includes reasoning, so models that reason need a large one."""
HISTORY_TOKENS = 12_000
CATEGORIES = 3
"""A model takes its pick among so many."""
CHARACTERS_PER_TOKEN = 3
"""A low estimate, so that the history is too short rather than too long."""


@dataclass
class ModelProposer:
    """Asks a model, and makes a proposal of its reply."""

    model: Model
    prompts_dir: Path = PROMPTS
    max_tokens: int = MAX_TOKENS
    catalog: Catalog = field(default_factory=lambda: load_catalog(os.environ))
    cancel: threading.Event | None = None
    name: str = field(default="llm", init=False)
    attempts: int = field(default=3, init=False)

    def __post_init__(self) -> None:
        self._templates = templates(self.prompts_dir)

    def ask(self, prompt: Prompt, context: Context) -> tuple[Reply, Proposal]:
        """What the model replies, and that as a proposal.

        Raises:
            Unavailable, Misconfigured, Cancelled: see ``agent.models.types``.
        """
        # A model may repeat what a server or a program has shown it, and a user paste a key.
        hidden = secret_values(inherited_environment(), self.catalog.key_variables)
        parts = tuple(replace(part, text=scrub(part.text, hidden)) for part in prompt.parts)
        files = {name: scrub(text, hidden) for name, text in prompt.files.items()}
        prompt = replace(prompt, parts=parts, files=files)
        context.asking(*self._ceiling(prompt))
        with context.replying():
            reply = self.model.complete(prompt, max_tokens=self.max_tokens, cancel=self.cancel)
        if reply.file is not None:
            shown, category = scrub(context.source, hidden), context.category
            rules = prompt.system.text
            text = as_reply(reply.text, shown, reply.file, category=category, rules=rules)
            reply = replace(reply, text=text)
        reply = replace(reply, text=scrub(reply.text, hidden), model=scrub(reply.model, hidden))
        schema = f"\nJSON schema of the reply: {prompt.schema}\n" if prompt.schema else ""
        return reply, Proposal(
            proposer=self.name,
            reply=reply.text,
            prompt=prompt.text + schema,
            model=reply.model,
            usage=asdict(reply.usage) if reply.usage is not None else None,
            cost_usd=self.catalog.cost(reply.usage, self.model.name),
            prompt_tokens=tokens_by_part(prompt, reply.usage),
        )

    def _ceiling(self, prompt: Prompt) -> tuple[dict[str, int], float | None]:
        """The most that a reply can take, tokens and US dollars, for one that will be lost."""
        name, entry = self.model.name, self.catalog.entry(self.model.name)
        size, most = len(prompt.text) // CHARACTERS_PER_TOKEN, entry.limit(self.max_tokens)
        ways = Usage(size, most), Usage(0, most, cache_write=size)
        costs = [cost for usage in ways if (cost := entry.cost(usage)) is not None]
        uncounted = name.partition(":")[0] in ("command", "cassette", "local")
        return {} if uncounted else {"input": size, "output": most}, max(costs, default=None)


@dataclass
class LLMProposer(ModelProposer):
    """Asks for one edit at a time, of anything."""

    history_tokens: int = HISTORY_TOKENS
    _said: str = field(default="", init=False)

    def choices(self, context: Context) -> int:
        """A few, so that it proposes where it has the best idea."""
        return CATEGORIES

    def covers(self, context: Context) -> bool:
        """A model has ideas for everything."""
        return True

    def propose(self, context: Context) -> Proposal:
        """Ask for one edit; ``context.feedback`` goes back with the replies that it is about.

        Raises:
            ReplyUnusable: the reply is cut off, declined or empty.
            Unavailable, Misconfigured, Cancelled: see ``agent.models.types``.
        """
        reply, proposal = self.ask(self.prompt(context), context)
        if reply.stop_reason == "end":
            self._doubt(reply.text)
        proposal = replace(proposal, envelope=self._envelope(context))
        if fault := self._fault(reply):
            raise ReplyUnusable(fault, proposal)
        return proposal

    def write_notebook(self, context: Context) -> Proposal:
        """Ask for the notebook, written anew; a reply that is cut off is no notebook.

        Raises:
            ReplyUnusable: the reply is cut off, declined or empty.
            Unavailable, Misconfigured, Cancelled: see ``agent.models.types``.
        """
        reply, answer = self.ask(self.notebook_prompt(context), context)
        if fault := self._fault(reply):
            raise ReplyUnusable(fault, answer)
        return answer

    def notebook_prompt(self, context: Context) -> Prompt:
        """As for a proposal, up to the history, so that a cache serves both; then the request.

        Raises:
            Misconfigured: a template is missing or broken.
        """
        proposing, book = self.prompt(context), context.notebook
        told = [part for part in proposing.parts if part.name not in ("notebook", "focus")]
        request = self._templates.render(
            "notebook",
            characters=CHARACTERS,
            headings=HEADINGS,
            notebook=book,
            changed=changed_lines(book.written, book.text),
            folder=bool(proposing.files),
        )
        parts = (*told, Part("notebook", request, fixed="notebook"))
        return replace(proposing, parts=parts, files={})  # there is nothing to edit

    def _doubt(self, text: str) -> None:
        """Take a program's few words for its own, until it says others: a model seldom repeats
        itself, a program that cannot reach its provider does.

        Raises:
            Unavailable: they are not taken for a reply.
        """
        if not self.model.name.startswith("command:") or holds_edit(text) or len(text) > SHORT:
            return
        before, self._said = self._said, re.sub(r"\w*\d\w*", "", text)  # times and numbers differ
        if before in ("", self._said) and not ANSWER.search(text):
            why = f"{self.model.name} printed no edit, but: {quote(text, ())}"
            raise Unavailable(why, cause="unexplained")

    @property
    def _spec(self) -> str:
        """The model's, for a recording the recorded model's."""
        return str(getattr(self.model, "recorded", self.model.name))

    def _envelope(self, context: Context) -> Envelope:
        """The format to ask for: the one that this campaign found, else the one in the catalog."""
        known = self.catalog.entry(self._spec).envelope
        found = context.envelopes.get(self.model.name, known)
        return "file" if found == "file" else "edits"

    def _fault(self, reply: Reply) -> str:
        """Why the reply must not be applied, "" if it may be. It checks the stop reason
        first: a reply that was cut off or declined can still look like an edit."""
        told = f" of {reply.usage.output} tokens" if reply.usage is not None else ""
        why = reply.detail or "no reason given"
        return {
            "length": f"the reply{told} was cut off at its limit before its end; think and write "
            "less",
            "refusal": f"the model declined to answer ({why})",
            "unusable": why,
            "other": f"the reply ended early ({why})",
            "end": "" if reply.text.strip() else f"the reply is empty ({why})",
        }[reply.stop_reason]

    def prompt(self, context: Context) -> Prompt:
        """The prompt; its parts that change least come first.

        Raises:
            Misconfigured: a template is missing or broken.
        """
        program, envelope = context.program, self._envelope(context)
        by = program.objective.recorded()
        comparable = (trial for trial in context.history if trial.holds_by(by))
        taught = by_todays_name(comparable, program.described)
        budget = self._budget(context)
        prose = program.filled(self._known(context), budget)
        folder = self._spec.startswith("command:")
        judging = Judging(context.rule, context.ties)
        rules = self._templates.render(
            "rules",
            judging=judging,
            ladder=LADDER,
            max_source_bytes=MAX_SOURCE_BYTES,
            objective=program.objective,
            prose=prose,
            budget="" if BUDGET.search(program.prose) else budget,
            of_tokens=context.budget.tokens is not None,
            envelope=envelope,
            folder=folder,
        )
        champion = self._templates.render(
            "train", facts=context.facts, cards=context.cards(), source=context.source
        )
        asked = dict.fromkeys((context.category, *context.drawn))
        focus = self._templates.render(
            "focus",
            context=context,
            lessons=lessons(taught, context.prior),
            one_way=one_way(taught, context.category, context.source),
            near_misses=near_misses(taught, context.history, asked),
            judging=judging,
            ties_left=judging.ties_left(context.history),
            asked={name: description(context, name) for name in asked},
            feedback=[*zip_longest(context.turned_down, context.feedback, fillvalue="")],
            envelope=envelope,
            folder=folder,
        )
        history = self._history(context.history, by)
        files = {
            "train.py": context.source,
            "program.md": prose,
            "history.md": "".join(part.text for part in history),
            "AGENTS.md": rules,
        }
        return Prompt(
            (
                Part("rules", rules, mark=True, fixed=program.prose),
                Part("train.py", champion, mark=True, fixed=context.source),
                *history,
                *self._notebook(context),
                Part("focus", focus, fixed=f"{context.category}\n{program.notes}"),
            ),
            trial=context.trial,
            attempt=len(context.feedback),
            files=files if folder else {},
        )

    def _known(self, context: Context) -> str:
        """What is known at the preset's scale; "" where there is no preset."""
        if not context.preset:
            return ""
        of_tokens = context.budget.tokens is not None
        return self._templates.render(f"known/{context.preset}", of_tokens=of_tokens).strip()

    def _budget(self, context: Context) -> str:
        """What the budget is, and what pays under it."""
        cap = wall_cap(context.budget, find_preset(context.preset or "cpu"))
        told = {"budget": context.budget, "cap": cap, "objective": context.program.objective}
        return self._templates.render("budget", **told).strip()

    def _notebook(self, context: Context) -> list[Part]:
        """What the model and the person have noted, if they have."""
        book = context.notebook
        if not book.text:
            return []
        return [Part("notebook", self._templates.render("notebook-told", notebook=book))]

    def _history(self, trials: Sequence[Trial], by: Mapping[str, float]) -> list[Part]:
        views = [view(trial) for trial in trials]

        def told(brief: bool) -> list[str]:
            apart = [not trial.holds_by(by) for trial in trials]
            pairs = zip(views, apart, strict=True)
            return [self._templates.render("trial", t=v, brief=brief, apart=a) for v, a in pairs]

        whole, brief = told(brief=False), told(brief=True)
        left_out, shortened = compress(
            [len(text) for text in whole],
            [len(text) for text in brief],
            [v.outcome in ("kept", "baseline") for v in views],
            self.history_tokens * CHARACTERS_PER_TOKEN,
        )
        texts = [*brief[:shortened], *whole[shortened:]]
        head = self._templates.render("history", left_out=[views[i] for i in sorted(left_out)])
        return [
            Part("history", head),
            *(
                Part(f"trial {trial.trial}", texts[i], mark=True)
                for i, trial in enumerate(trials)
                if i not in left_out
            ),
        ]


def tokens_by_part(prompt: Prompt, usage: Usage | None) -> dict[str, int]:
    """About how many tokens each part of a prompt takes, all trials together as ``history``.

    By their characters: of as many tokens as the server has counted in all, else by the estimate
    that bounds the history. Each vendor has a tokenizer of its own, and few are at hand.
    """
    sizes: dict[str, int] = {}
    for part in prompt.parts:
        name = "history" if part.name.startswith("trial ") else part.name
        sizes[name] = sizes.get(name, 0) + len(part.text)
    in_all = sum(sizes.values())
    per_token = in_all / usage.prompt if usage and usage.prompt else CHARACTERS_PER_TOKEN
    return {name: round(size / per_token) for name, size in sizes.items()} if in_all else {}


def description(context: Context, category: str) -> str:
    """What program.md says of a category; "" where it has been dropped from there."""
    categories = context.program.categories
    return next((c.description for c in categories if c.name == category), "")


def compress(
    whole: Sequence[int], brief: Sequence[int], protected: Sequence[bool], limit: int
) -> tuple[frozenset[int], int]:
    """Which trials to leave out, and before which one trials are shortened.

    Trials are added in order, in full. When their size exceeds the limit, the oldest are shortened,
    then left out, then the oldest protected ones as well, until half of the limit is free. So the
    text stays the same for many trials.

    Args:
        whole, brief: characters of each trial, in full and shortened.
        protected: which are left out last.
        limit: characters.
    """
    size = shortened = oldest = last = 0
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
        while last < shortened and size > limit // 2:
            if last not in left_out:
                size -= brief[last]
                left_out.add(last)
            last += 1
    return frozenset(left_out), shortened
