"""The objects and settings of one run of a campaign, shared by the steps of the loop."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from agent.campaign.events import ProgramRead, Waiting
from agent.campaign.evidence import level_of, noise_of
from agent.campaign.learning import rebuild_prior
from agent.campaign.notebook import Notebook
from agent.campaign.records import Kind, Trial
from agent.campaign.store import Campaign
from agent.executors.base import Work
from agent.executors.heats import Devices
from agent.executors.lanes import Lanes
from agent.git.command import inherited_environment
from agent.judge import Judge, Rule
from agent.models.secrets import scrub, secret_values
from agent.objective import Objective
from agent.program import Program, reload_program
from agent.proposers.base import Context, Proposer
from agent.report.display import Display
from agent.settings import Settings
from agent.steps.machine import low_battery
from agent.steps.notify import Notifier
from trainer.presets import Budget, Preset, find_preset, parse_budget
from trainer.training.standstill import since_boot

VERIFY_SHARE = 0.1
"""Of the hours of a run that is to be verified."""

ENDLESS = 100
POINTS = 12
"""Of a curve, in a prompt."""
T = TypeVar("T")


class Stopped(Exception):
    """The run ends here, with nothing lost; the message is the reason."""


class NothingLeft(Stopped):
    """There is no untried idea now; there may be one after the next verdict."""


@dataclass
class Runtime:
    """One run of a campaign."""

    campaign: Campaign
    settings: Settings
    program: Program
    proposer: Proposer
    display: Display
    stop: threading.Event
    command_line: Mapping[str, Any] = field(default_factory=dict)
    """What the command line set, which program.md cannot override."""
    notify: Notifier = field(default_factory=Notifier)
    after_trial: Callable[[], None] = lambda: None
    """What else is done after a verdict."""
    devices: Devices = field(default_factory=Devices)
    """Where all is measured, and by whose turn."""

    def __post_init__(self) -> None:
        self.began = since_boot()
        self._complaint: str | None = None
        self.said: set[str] = set()
        """What is said once in a run."""
        self._low = ""
        self.in_vain: defaultdict[str, int] = defaultdict(int)
        """By what: how often in a row it came to nothing since the run began."""
        state, described = self.campaign.state, self.program.described
        lent = state.lent, state.lent_described
        self.prior = rebuild_prior(described, self.settings.seed, state.in_order, *lent)

    @property
    def lanes(self) -> Lanes:
        return self.devices.lanes

    @property
    def is_one_of_several(self) -> bool:
        """Whether this thread is a lane, beside which there are others."""
        return self.lanes.own is not None

    @property
    def trial(self) -> Trial | None:
        """This lane's trial, None between two; before the loop has begun, the first open one."""
        state, number = self.campaign.state, self.lanes.trial
        if not self.lanes.has_begun:
            return state.open_trial
        trial = state.trials[number] if number is not None else None
        return trial if trial is not None and trial.verdict is None else None

    @property
    def open_trial(self) -> Trial:
        trial = self.trial
        assert trial is not None
        return trial

    @property
    def champion(self) -> Trial:
        champion = self.campaign.state.champion
        assert champion is not None
        return champion

    def take_interrupted(self, only: Collection[str] | None = None) -> bool:
        """Go on with the first open trial that no lane has, if there is one with the first that
        can be trained; False if there is none.

        Args:
            only: names of what was submitted, to go on with nothing else.
        """
        self.lanes.has(None)
        taken = self.lanes.trials
        left = [t for t in self.campaign.state.open_trials if t.trial not in taken]
        if only is not None:
            left = [trial for trial in left if trial.submitted.get("name") in only]
        left.sort(key=lambda trial: trial.wants_proposal)
        self.lanes.has(left[0].trial if left else None)
        return bool(left)

    def tell(self) -> None:
        """Show what the campaign has to say, such as of what somebody did to its refs."""
        for line in self.campaign.take_messages():
            self.display.message(line)

    def take_last(self) -> None:
        """The trial that was just begun is this lane's."""
        self.lanes.has(len(self.campaign.state.trials) - 1)

    def rival(self, trial: Trial) -> Trial:
        """Whom a trial's candidate meets: the champion, but of a null trial the one that it was
        made of, since what it tells of the judge holds whoever is champion now."""
        kept = reversed(self.campaign.state.kept)
        own = next((one for one in kept if trial.is_null and one.commit == trial.parent), None)
        return own or self.champion

    @property
    def objective(self) -> dict[str, float]:
        """What the open trial is judged by, else the next one, as the journal keeps it."""
        open_trial = self.trial
        return dict(open_trial.objective if open_trial else self.program.objective.recorded())

    @property
    def preset(self) -> Preset:
        return find_preset(self.settings.preset)

    @property
    def budget(self) -> Budget:
        return parse_budget(self.settings.budget)

    @property
    def terms(self) -> dict[str, Any]:
        """What program.md says of how the next trial is judged; see ``Trial``."""
        return {
            "program": self.program.sha256[:12],
            "objective": self.program.objective.recorded(),
            "keep": self.settings.keep,
        }

    def rule_of(self, trial: Trial | None) -> Rule:
        """The rule that a trial began with; of none, that of the next one."""
        return (trial.keep if trial is not None else None) or self.settings.keep

    def level_of(self, trial: Trial) -> float | None:
        """The share of false keeps that a trial may have."""
        return level_of(self.campaign.state, self.rule_of(trial), trial.trial)

    def make_judge(self, kind: Kind, trial: Trial | None = None) -> Judge:
        """A judge for one kind of edit, with the noise that the campaign has found in it.

        Args:
            trial: whose rule and objective count; the open one, or the next, if none is given.
        """
        state, preset, trial = self.campaign.state, self.preset, trial or self.trial
        ties_left = max(0.0, preset.ties - state.ties_cost)
        by = self.objective if trial is None else trial.objective
        return Judge(self.rule_of(trial), noise_of(state, kind, preset, by), ties_left)

    def work(
        self, call: Literal["heat", "check", "audit", "profile"], *sources: str, **arguments: Any
    ) -> Work:
        """One call of ``trainer.measure``, with what is the same for all of a run."""
        shared = ("preset", "data", "isolation")
        arguments |= {name: getattr(self.settings, name) for name in shared}
        return Work(call, sources, arguments)

    def measure(self, work: Work, **how: Any) -> Any:
        """Have it measured, and wait for it; see ``trainer.measure``, and ``Devices.run``."""
        number = self.trial.trial if self.trial is not None else None

        def tell(event: dict[str, Any]) -> None:
            self.display.event(event, number)

        return self.devices.run(work, on_event=tell, cancel=self.stop, **how)

    def context(self, number: int) -> Context:
        """What a proposer may know, before the category is drawn."""
        state = self.campaign.state
        open_trial = self.trial
        program = self.program.aimed_at(Objective.of(self.objective)).open_to(self.budget)
        closed = set(self.program.names) - set(program.names)
        open_ = [name for name in self.prior.described if name not in closed] or None
        shares = self.prior.probabilities(open_)
        return Context(
            trial=number,
            category="",
            source=self.campaign.source(self.champion.commit),
            program=program,
            history=tuple(state.real),
            pending=tuple(one for one in state.open_trials if one is not open_trial),
            replying=self.lanes.away,
            prior={name: share for name, share in shares.items() if name not in closed},
            noise={kind: self.make_judge(kind).noise.scale for kind in get_args(Kind)},
            seed=self.settings.seed,
            facts=self._facts(),
            preset=self.settings.preset,
            budget=self.budget,
            rule=self.rule_of(open_trial),
            ties=self.preset.ties,
            feedback=open_trial.rejections if open_trial else (),
            turned_down=open_trial.turned_down if open_trial else (),
            envelopes=state.envelopes,
            notebook=state.notebook if self.settings.notebook else Notebook(),
            proposer=open_trial.proposer if open_trial else "",
            sources=self.campaign.source,
        )

    def _facts(self) -> dict[str, str]:
        champion, settings = self.champion, self.campaign.state.settings
        training = champion.of("candidate")[-1]
        speed = training.tokens / max(training.train_seconds, 1e-9)
        scores = {"baseline": self.campaign.state.trials[0], "champion": champion}
        curve = curve_line(training.losses)
        return {
            "device": str(settings.get("device", "")),
            "budget": self.settings.budget,
            **{f"{who}'s val_bpb": f"{t.val_bpb:.3f}" for who, t in scores.items() if t.val_bpb},
            "champion's steps": str(training.steps),
            "champion's tokens": f"{training.tokens:,}",
            "champion's tokens per second": f"{speed:,.0f}",
            "champion's parameters": f"{training.params:,}",
            "champion's memory": f"{training.peak_memory_mb:.0f} MB",
            **(
                {"champion's training loss, bits per byte by share of the budget": curve}
                if curve
                else {}
            ),
        }

    def read_program(self) -> None:
        """Read program.md again, and follow it where a setting is live; look at the battery."""
        last = self.program
        self.program, complaint = reload_program(last.path, last)
        if complaint:
            self.display.message(complaint)
            if complaint != self._complaint:
                self.notify.soon("needed", complaint)
        self._complaint = complaint
        low = low_battery()
        if low and not self._low:
            self.display.message(low)
            self.notify.soon("needed", low)
        self._low = low
        text = scrub(self.program.text, secret_values(inherited_environment()))
        if text != self.campaign.state.program_text:
            self.campaign.record(ProgramRead(sha256=self.program.sha256, text=text))
        if self.program.settings != last.settings:
            self.settings = self.settings.follow(self.program.settings, self.command_line)

    def stop_at_limits(self, asks: bool = True) -> None:
        """Check the limits of cost, tokens and time, before anything is requested.

        Args:
            asks: whether that takes a model; if not, only time can be up.

        Raises:
            Stopped: one is reached. The next run continues the open trial, if there is one.
        """
        self.stop_if_asked()
        state, settings = self.campaign.state, self.settings
        if self.time_is_up():
            raise Stopped("the time is up")
        if not asks:
            return
        if settings.max_cost is not None and state.settings.get("llm") != "none":
            if state.cost is None:
                raise Stopped("the model's price is unknown, so --max-cost cannot hold")
            if state.cost >= settings.max_cost:
                raise Stopped(f"the model has cost ${state.cost:.2f}")
        if settings.max_tokens is not None and state.tokens >= settings.max_tokens:
            raise Stopped(f"{state.tokens:,} tokens went to and from the model")

    def wait(self, event: Waiting, seconds: float) -> None:
        """Pause, with a countdown on the display, until the time is over or the run has to end.

        Raises:
            Stopped: the run was asked to stop.
        """
        self.campaign.record(event)
        until, number = since_boot() + seconds, self.open_trial.trial
        while (left := until - since_boot()) > 0 and not self.time_is_up():
            self.display.event({"event": "waiting", "seconds": math.ceil(left)}, number)
            with self.lanes.away():
                if self.stop.wait(min(1.0, left)):
                    break
        self.display.event({"event": "waiting", "seconds": 0}, number)
        self.stop_if_asked()

    def spent(self) -> float:
        """Share of the campaign that is over: of its trials or of this run's hours; without an end
        as if ``ENDLESS`` trials were to come."""
        done, settings = len(self.campaign.state.real), self.settings
        shares = [done / settings.trials] if settings.trials else []
        shares += [(since_boot() - self.began) / (3600 * settings.hours)] if settings.hours else []
        return min(1.0, max(shares, default=done / (done + ENDLESS)))

    def time_is_up(self) -> bool:
        """Whether ``hours`` have passed since the run began, those of a suspended machine too; what
        ``verify`` needs of them is left."""
        hours, left = self.settings.hours, VERIFY_SHARE if self.settings.verify else 0.0
        return hours is not None and since_boot() - self.began >= 3600 * hours * (1 - left)

    def fresh_seed(self) -> int:
        """A seed that no other training of the campaign has; another --seed gives other seeds."""
        return self.settings.seed * 100_000 + self.campaign.state.seeds_used + 1

    def stop_if_asked(self) -> None:
        if self.stop.is_set():
            raise Stopped("asked to stop")


def spaced(values: Sequence[T], most: int = POINTS) -> list[T]:
    """At most so many of the values, evenly spaced, first and last among them."""
    last = len(values) - 1
    chosen = sorted({round(k * last / (most - 1)) for k in range(most)}) if values else []
    return [values[k] for k in chosen]


def curve_line(losses: Sequence[float | None]) -> str:
    """A loss by equal parts of the budget as text: the end of a part, and the mean in it."""
    known = [((k + 1) / len(losses), loss) for k, loss in enumerate(losses) if loss is not None]
    return ", ".join(f"{share:.0%} {loss:.2f}" for share, loss in spaced(known))
