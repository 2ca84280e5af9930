"""Set up a run from the command line, program.md and the machine."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.campaign import reading
from agent.campaign.commits import baseline_source
from agent.campaign.events import RunBegun
from agent.campaign.state import State
from agent.campaign.store import Campaign
from agent.executors.base import Executor, Work
from agent.executors.choose import open_for_run
from agent.executors.heats import Devices
from agent.git.command import inherited_environment
from agent.git.repo import Repo
from agent.git.worktree import uncommitted
from agent.logs import logged
from agent.models.catalog import load_catalog
from agent.models.choose import open_model
from agent.models.http import SDKModel
from agent.models.secrets import redact, secret_values
from agent.models.types import Model, Usage
from agent.program import Program, load_program, parse_program, reload_program
from agent.proposers.choose import make, researcher
from agent.report.display import Display
from agent.report.summary import noise
from agent.report.text import noise_words, plural
from agent.report.trackers import refuse_missing, tracked
from agent.settings import Settings, SettingsError, remember, resolve_settings
from agent.steps.lend import lend, lender, published_start
from agent.steps.machine import device_claimed, kept_awake, sleep_words
from agent.steps.notify import make_notifier
from agent.steps.runtime import Runtime
from agent.steps.stop import forget_request, heeding, stopping_words
from agent.steps.take import read_source
from trainer import contract
from trainer.data.choice import choose
from trainer.data.prepare import Corpus, cache_dir, hold, notes, prepare
from trainer.errors import UserError
from trainer.measure import MACHINE, Setting, resolve
from trainer.presets import Preset, parse_budget
from trainer.source import plain
from trainer.untrusted import one_line

OVERHEAD_SECONDS = 4.0
"""Start-up, checks and scoring per training, for the forecast."""
TRAININGS_PER_TRIAL = 4.0
MB_PER_TRIAL = 0.2
NIGHT_HOURS = 8.0
SHARED = "each takes the other's time and memory, so stop one, or expect fewer trials of both"
LABEL_WIDTH = 9
"""Of the header's labels."""
MOST_BYTES_OF_A_CHARACTER = 4
"""Held-out text ends with a whole one."""
log = logging.getLogger(__name__)


@contextlib.contextmanager
def open_runtime(
    repo: Repo,
    tag: str,
    command_line: Mapping[str, Any],
    program_path: Path,
    display: Display,
    verbose: bool = False,
    start: Path | None = None,
    remembers: bool = True,
) -> Iterator[Runtime]:
    """Start or resume the campaign ``tag``; yields its runtime, with the machine warmed up.

    While it is open the campaign is locked, the machine is kept awake, and a signal asks the run to
    stop. At its end the report is written and the warm processes are ended.

    Args:
        command_line: its settings, by the names of ``Settings``; None for those not given.
        verbose: whether its log is shown on stderr, too.
        start: the file that a new campaign starts from, in place of HEAD's train.py.
        remembers: whether what the command line says holds for later runs, too.
    """
    state = reading.peek(repo, tag)
    repo.check_tag(tag, new=not state.settings)
    program = _read_program(program_path, state, display)
    settings = resolve_settings(command_line, program.settings, state.settings, state.given)
    given = {name: getattr(settings, name) for name, v in command_line.items() if v is not None}
    setting = resolve(settings.preset, isolation=settings.isolation, source=settings.data)
    preset = setting.preset
    if preset.device_memory_mb and setting.device == "cpu":
        raise SettingsError(
            f"preset {preset.name} is for a GPU, and there is none here: a step of its model would "
            "take minutes; leave it out, or give --preset cpu"
        )
    budget = settings.budget or str(preset.budget)
    settings = settings.model_copy(update={"preset": preset.name, "budget": budget})
    from_campaign = lender(repo, settings.prior, state)
    environ = inherited_environment()
    model, why = open_model(settings.llm, environ)
    if model is not None:
        _refuse_unknown_price(settings, model.name)
        _remember_name(model, state)
    stop, hidden = threading.Event(), secret_values(environ)
    llm = researcher(model, stop) if model else None
    proposer = make(settings.proposer, llm, settings.seed)
    begins = _read_start(start, state, preset, repo) if start else {}
    if not state.settings:
        committed = repo.read_file(repo.head())  # whose place a start takes
        contract.read(begins.get("start_source", committed), preset.max_seq_len)
    refuse_missing(settings.track)
    notify = make_notifier(settings.notify, tag, environ, hidden)
    try:
        with contextlib.ExitStack() as held:
            inhibitor = held.enter_context(kept_awake())
            executor = open_for_run(settings.free(), command_line, state.given, display.event)
            held.enter_context(contextlib.closing(executor))
            header = _header(program_path, tag, state, setting)
            header += _plan(settings, llm is not None, why)
            if program.objective.recorded():
                header.append(("objective", program.objective.words()))
            words = f"{start}, in place of the committed one" if begins else uncommitted(repo)
            if not state.settings and words:
                header.append(("train.py", words))
            display.header(header)
            begun = (t.fingerprint for trial in state.trials for t in trial.trainings)
            hold(next(begun, {}).get("text", ""))
            corpus, note = prepare_corpus(settings.data, preset, display)
            hold(f"{corpus.source} {corpus.version}")
            settings = settings.model_copy(update={"data": corpus.source})
            rest = [("data", _data_words(corpus, preset)), ("sleep", sleep_words(inhibitor))]
            rest = [(label, text) for label, text in rest if text]
            display.header([(f"{label:<{LABEL_WIDTH}}", text) for label, text in rest])
            if start and not state.settings:
                _refuse_unfit(start, begins, settings, executor)
            forget_request(repo, tag)
            campaign = held.enter_context(contextlib.closing(Campaign(repo, tag)))
            held.enter_context(logged(campaign.folder, hidden, verbose))
            held.enter_context(heeding(stop, _tell_of_stopping(campaign, display), campaign.folder))
            other = held.enter_context(device_claimed(cache_dir(), setting.device, tag))
            log.info("process %d begins", os.getpid())
            for label, text in [*header, ("data", note), *rest]:
                if label and text:  # without a label it is a hint to who sits at the terminal
                    log.info("%s: %s", label, text)
            if campaign.is_new:
                facts = {"device": setting.shown, "level": setting.level}
                campaign.begin(settings, facts | begins)
            shared = other and f"{setting.device} is also used by campaign {other}: {SHARED}"
            for warning in filter(None, (campaign.state.left_out, shared)):
                display.message(warning)
                log.warning(warning)
            llm_name = model.name if model else "none"
            shown = redact(settings.notify, hidden)
            asked = {**settings.free(), "llm": llm_name, "notify": shown}
            for name, value in (settings.fixed() | asked).items():
                log.info("%s: %s", name, value)
            asked["program"] = os.path.relpath(program_path, repo.root)
            kept = remember(given if remembers else {}, state.given, hidden)
            pid, slots = os.getpid(), executor.slots
            campaign.record(RunBegun(pid=pid, slots=slots, given=kept, settings=asked))
            if from_campaign:
                of = campaign.state.settings
                lent = lend(from_campaign, settings.prior, of, program.described)
                campaign.record(lent)
                display.message(f"the prior starts from {campaign.state.lent_by}")
            elif not (state.trials or state.lent) and (first := published_start(program.described)):
                campaign.record(first)
            elif command_line.get("prior") and not campaign.state.lent_by.startswith(
                f"{settings.prior}, "
            ):
                display.message(f"--prior {settings.prior}: only a new campaign can start from it")
            campaign.reconcile()
            for line in campaign.take_messages():
                display.message(line)
                log.warning(line)
            held.enter_context(display.attached(tag, campaign.state, campaign.folder))
            from agent.report.background import reports  # only here: doctor needs no jinja2

            said, devices = {**state.given, **given}, Devices(executor)
            own = (campaign, settings, program, proposer, display, stop, said, notify)
            runtime = Runtime(*own, devices=devices)
            try:
                with (
                    reports(campaign, display.message) as reporter,
                    tracked(settings.track, campaign, display.message) as track_trial,
                ):

                    def after_trial() -> None:
                        reporter.after_trial()
                        track_trial()

                    runtime.after_trial = after_trial
                    yield runtime
            except Exception as error:
                notify("needed", f"the run has ended: {error}")
                raise
            notify("stopped", campaign.state.stop_reason)
    finally:
        MACHINE.close()


def _read_start(path: Path, state: State, preset: Preset, repo: Repo) -> dict[str, str]:
    """What the journal keeps of ``--start``: the file's name, and all of it.

    Raises:
        UserError: it is no train.py, or a campaign that exists started from another one.
    """
    source = read_source(path, preset.max_seq_len)
    begun = state.settings
    if begun and source != (begun.get("start_source") or plain(repo.read_file(begun["base"]))):
        began = begun.get("start", "the committed trainer/train.py")
        raise SettingsError(
            f"--start {path}: this campaign started from {began}, which had another text; leave "
            "--start out to go on with it, or use another --tag"
        )
    return {"start": one_line(path.name), "start_source": source}


def _refuse_unfit(path: Path, begins: Mapping[str, str], settings: Settings, on: Executor) -> None:
    """Train two steps of a start with the preset's constants, before a campaign begins with it.

    Raises:
        UserError: it breaks the contract in a way that only shows when it runs.
    """
    source = baseline_source("", {**begins, "preset": settings.preset})
    shared = {name: getattr(settings, name) for name in ("preset", "data", "isolation")}
    work = Work("check", (source,), shared)
    found = on.run(work, on_event=lambda event: None, cancel=threading.Event())
    if not found.ok:
        raise UserError(
            f"{path} does not pass its check, so nothing was begun: {found.status} "
            f"({found.reason}); python -m trainer --file {path} --budget 5s shows more"
        )


def _tell_of_stopping(campaign: Campaign, display: Display) -> Callable[[str], None]:
    def tell(asked_by: str) -> None:
        words = stopping_words(campaign.state)
        display.message(words)
        log.info("%s (%s)", words, asked_by)

    return tell


def _remember_name(model: Model, state: State) -> None:
    """A server that answered an earlier run is waited for, though its name is not known now."""
    if isinstance(model, SDKModel) and state.settings.get("llm") == model.name:
        model.found = any(trial.proposer == "llm" for trial in state.trials)


def _refuse_unknown_price(settings: Settings, model: str) -> None:
    """Refuse --max-cost for a model with an unknown price, since it could not be enforced."""
    if settings.max_cost is None or settings.proposer not in ("llm", "hybrid"):
        return
    if load_catalog(os.environ).cost(Usage(1, 1), model) is None:
        raise SettingsError(
            f"--max-cost cannot hold: the price of {model} is not known; write it (input and "
            f'output, US dollars per million tokens) under [models."{model}"] in '
            "~/.config/autoresearch/models.toml, or limit --max-tokens instead"
        )


def _read_program(path: Path, state: State, display: Display) -> Program:
    """program.md, or, if it is broken now, the version that the campaign read last."""
    if not state.program_text:
        return load_program(path)
    # Of an earlier version, which may have allowed other values.
    last_good = parse_program(state.program_text, path, lenient=True)
    program, complaint = reload_program(path, last_good)
    if complaint:
        display.message(complaint)
    return program


def new_tag(repo: Repo) -> str:
    """Today's date (``nov22``), with a suffix if it is taken."""
    today = datetime.now().strftime("%b%d").lower()
    folders = {path.name for path in (repo.root / "campaigns").glob("*")}
    names = [today, *(f"{today}-{n}" for n in range(2, 1000))]

    def is_free(name: str) -> bool:
        refs = (repo.branch(name), repo.base_ref(name))
        return name not in folders and all(repo.resolve(ref) is None for ref in refs)

    return next(filter(is_free, names))


def prepare_corpus(source: str, preset: Preset, display: Display) -> tuple[Corpus, str]:
    """Corpus and tokenizer for a preset, made on first use while the fork server warms up.

    Returns:
        The corpus, and what was shown: why it is not the preset's, what of it is left out.
    """
    MACHINE.server()

    def progress(stage: str, fraction: float) -> None:
        display.event({"event": "preparing", "stage": stage, "fraction": fraction})

    choice = choose(source, preset, progress)
    if choice.note:
        display.message(choice.note)
    corpus = prepare(
        choice.source,
        vocab_size=preset.constants["VOCAB_SIZE"],
        val_bytes=preset.val_bytes,
        progress=progress,
    )
    told = notes(corpus.source)
    for line in told:
        display.message(line)
    return corpus, "; ".join(filter(None, (choice.note, *told)))


def _data_words(corpus: Corpus, preset: Preset) -> str:
    """The corpus, and the text that is scored: all there is, where that is less than wanted."""
    words = f"{corpus.source}, scored on {corpus.val.n_bytes:,} bytes held out"
    is_short = corpus.val.n_bytes <= preset.val_bytes - MOST_BYTES_OF_A_CHARACTER
    return f"{words}, all it has of {preset.val_bytes:,} wanted" if is_short else words


def _header(program: Path, tag: str, state: State, setting: Setting) -> list[tuple[str, str]]:
    """What the campaign is and what it measures with."""
    preset = setting.preset
    probe = MACHINE.probe()
    counts = ", ".join(f"{n} {kind}" for kind, n in state.counts.items())
    return [
        ("campaign", f"{tag}, branch autoresearch/{tag}"),
        *([("resumed", counts)] if state.finished else []),
        (
            "device",
            f"{probe['name'] or probe['device']}, {setting.threads} threads, preset {preset.name}",
        ),
        ("isolation", _isolation_words(setting.level)),
        ("noise", f"{noise_words(noise(state, preset))} ({_noise_source(state)})"),
        ("steer", f"edit {program}; it is read before every trial"),
    ]


def _plan(settings: Settings, has_model: bool, why: str) -> list[tuple[str, str]]:
    """Where edits come from, and what to expect."""
    structure = "the model" if has_model else "the deck (hand-written recipes)"
    proposers = {
        "llm": "llm: the model proposes everything",
        "deck": "deck: hand-written recipes only",
        "tuner": "tuner: numbers only",
        "hybrid": f"hybrid: structure from {structure}, numbers from the tuner",
    }
    first, *rest = why.splitlines()
    return [
        ("proposer", proposers[settings.proposer]),
        ("model", first),
        *(("", line.strip()) for line in rest),
        ("budget", f"{settings.budget} a training, keep rule {settings.keep}"),
        ("forecast", forecast(settings, not has_model)),
    ]


def _isolation_words(level: str) -> str:
    return {
        "os": "os: the training file cannot reach files, network or other processes",
        "process": "process: this system cannot confine it; see python -m agent doctor",
        "off": "off, as asked: the training file can reach whatever you can",
    }[level]


def _noise_source(state: State) -> str:
    heats = sum(len(trial.differences) for trial in state.finished if len(trial.differences) > 1)
    return f"from {heats} repeated heats and the preset" if heats else "the preset's guess"


def forecast(settings: Settings, free: bool) -> str:
    """Trials by the end of the run or of a night, what they may cost, and the disk they take."""
    seconds = parse_budget(settings.budget).seconds or 20.0
    each = TRAININGS_PER_TRIAL * (seconds + OVERHEAD_SECONDS)
    if settings.trials is not None:
        count, when = settings.trials, f"about {_duration(settings.trials * each)}"
    else:
        hours = settings.hours or NIGHT_HOURS
        count, when = math.floor(hours * 3600 / each), f"in {hours:g} h"
        when += "" if settings.hours else "; it goes on until Ctrl-C"
    cost = "no cost" if free else "cost as the model charges; --max-cost USD ends it"
    disk = max(1, round(count * MB_PER_TRIAL))
    return f"about {plural(count, 'trial')}, {when}; {cost}; about {disk} MB of disk"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
