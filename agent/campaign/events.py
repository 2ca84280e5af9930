"""What can happen in a campaign: one model an event, as the journal writes and reads it.

An event says what was about to happen or what has happened; ``campaign.state`` folds all of them
into a state. Fields that another version wrote and this one does not know are left out. A whole
event that this version does not know is read as ``Unknown``, so that a reader can say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, TypeAdapter

from agent.campaign.findings import Audit, Transfer
from agent.campaign.formats import FORMAT as FORMAT
from agent.campaign.formats import upgraded
from agent.campaign.happened import Happened, Usage
from agent.campaign.notebook import NotebookAnswered, NotebookRead
from agent.campaign.records import Proof, Training, Verdict
from agent.edits.blocks import Envelope
from agent.judge import Rule


class OfTrial(Happened):
    """What all events of a trial have."""

    trial: int


class SetsFields(OfTrial):
    """An event whose own fields are fields of ``records.Trial``, and set them."""


# --- the campaign and its runs


class CampaignBegun(Happened):
    """A campaign begins, from a commit of the user's branch."""

    event: Literal["campaign"] = "campaign"
    format: int = FORMAT
    settings: Mapping[str, Any]
    """What all its trainings share, with ``tag``, ``base`` (full hash) and ``device``."""


class RunBegun(Happened):
    """A process goes on with the campaign."""

    event: Literal["run"] = "run"
    format: int = FORMAT
    """Of its line and of those after it; 1 if a line says nothing."""
    pid: int = 0
    slots: int | None = None
    """How many works are measured at once; None in journals that do not say."""
    given: Mapping[str, Any] = {}
    """Settings of the command line that hold for later runs, too."""
    settings: Mapping[str, Any]
    """The settings of this run that other runs need not share."""


class RunEnded(Happened):
    """A run ended in order; after a kill there is no such event."""

    event: Literal["stop"] = "stop"
    reason: str


class ProgramRead(Happened):
    """program.md was read, and is not what it was."""

    event: Literal["program"] = "program"
    sha256: str
    text: str


# --- a trial and its proposal


class TrialBegun(SetsFields):
    """A category was drawn, or a submission or a null trial, or the baseline is to be trained."""

    event: Literal["trial"] = "trial"
    category: str
    propensity: float = 0.0
    drawn: tuple[str, ...] = ()
    propensities: tuple[float, ...] = ()
    idea: Mapping[str, Any] = {}
    available: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    described: tuple[str, ...] = ()
    spent: float = 0.0
    program: str = ""
    objective: Mapping[str, Any] = {}
    keep: Rule | None = None
    proposer: str = ""
    title: str = ""
    parent: str = ""
    null_constant: str = ""
    sets_numbers: bool = False
    submitted: Mapping[str, Any] = {}


class Asking(OfTrial):
    """A model is about to be asked; a kill from here on may lose a reply that is paid for."""

    event: Literal["asking"] = "asking"
    attempt: int = 0
    usage: Usage | None = None
    """The most that the reply can use, at which a lost one is counted; None of old versions."""
    cost_usd: float | None = None


class Proposed(OfTrial):
    """A proposer answered; see ``proposers.base.Proposal``."""

    event: Literal["proposed"] = "proposed"
    proposer: str
    reply: str
    data: Mapping[str, Any] = {}
    envelope: Envelope = "edits"
    model: str = ""
    usage: Usage | None = None
    cost_usd: float | None = None
    program: str = ""
    parent: str = ""
    """Full hash of the champion that it was made for."""
    prompt_tokens: Mapping[str, int] = {}
    category: str = ""
    """The category that it takes of those drawn, or that of the trial that it ``follows``."""
    follows: str = ""
    exhausted: Mapping[str, str] = {}
    ideas: tuple[str, ...] = ()
    """What else the reply proposes, in the order of its trials: each like a reply."""


class IdeaDropped(Happened):
    """The idea that has waited longest is not tried."""

    event: Literal["idea_dropped"] = "idea_dropped"
    reason: str


class Waiting(Happened):
    """A model did not answer, and the run waits."""

    event: Literal["waiting"] = "waiting"
    reason: str
    until: float | None = None
    """Unix seconds."""
    usage: Usage | None = None
    """What the lost reply has used, as far as the server said."""
    cost_usd: float | None = None
    lost: bool = False
    """Whether it was lost after it had begun to come, so that it is counted at its most."""


class Paused(Happened):
    """A run that was asked to begin no trial goes on, or ends."""

    event: Literal["paused"] = "paused"
    seconds: float
    """For so long it waited."""


class Refused(OfTrial):
    """A model will not answer until the user changes something; the run ends."""

    event: Literal["refused"] = "refused"
    reason: str


class TurnedDown(OfTrial):
    """A reply is of no use; the reason goes back to the proposer."""

    event: Literal["turned_down"] = "turned_down"
    reason: str
    misapplied: bool = False
    """Whether it could not be read or applied as an edit."""


class SentBack(OfTrial):
    """A candidate failed in training and goes back to its proposer."""

    event: Literal["repair"] = "repair"
    reason: str


class EnvelopeChosen(Happened):
    """From now on a model is asked for replies of another format."""

    event: Literal["envelope"] = "envelope"
    model: str
    envelope: Envelope


class _OfCandidate(SetsFields):
    """The facts of a candidate whose commit is in git."""

    candidate: str
    parent: str = ""
    title: str = ""
    hypothesis: str = ""
    sign: str = ""
    shows: str = ""
    source_sha256: str = ""
    hunks: tuple[str, ...] = ()
    lines_added: int = 0
    lines_removed: int = 0
    size_delta: int = 0
    sets_numbers: bool = False
    hides_loss: bool = False
    reads_clock: str = ""


class CandidateMade(_OfCandidate):
    """An edit was accepted."""

    event: Literal["candidate"] = "candidate"


class CarriedOver(_OfCandidate):
    """Another champion came while the trial was open: its edit is merged into that one, and judged
    anew against it."""

    event: Literal["carried"] = "carried"


# --- trainings, audits, verdicts


class TrainingBegun(OfTrial):
    """A training alone begins."""

    event: Literal["training_started"] = "training_started"
    seed: int


class TrainingOver(Happened):
    """A training alone is over."""

    event: Literal["training"] = "training"
    training: Training


class HeatBegun(OfTrial):
    """A heat begins."""

    event: Literal["heat_started"] = "heat_started"
    heat: int
    seeds: tuple[int, ...]
    """The champion's and the candidate's."""
    new_seeds: int
    """How many of them no training had before."""
    proof: bool = False
    """Whether it repeats the champion's own training to prove a tie."""


class HeatOver(OfTrial):
    """A heat is over."""

    event: Literal["heat"] = "heat"
    trainings: tuple[Training, ...]
    """The champion's and the candidate's."""
    proof: Proof = ""
    forecast: tuple[float, float] | None = None
    """Of an abandoned candidate: the difference that was forecast, and its standard error."""


class Proved(OfTrial):
    """Two steps have shown that a shorter program computes other numbers."""

    event: Literal["proof"] = "proof"
    proof: Proof


class Audited(Happened):
    """The stronger audit of a candidate is over."""

    event: Literal["audit"] = "audit"
    audit: Audit


class Concluded(SetsFields):
    """The verdict of a trial, with its final commit."""

    event: Literal["verdict"] = "verdict"
    commit: str = ""
    seconds: float = 0.0
    verdict: Verdict
    words: str
    status: str
    val_bpb: float | None = None
    val_bpb_half: float | None = None
    gain: float | None = None
    gain_half: float | None = None
    difference: tuple[float, float] | None = None
    noise: float | None = None
    level: float | None = None
    reward: float | None = None
    tie: bool = False
    tie_cost: float = 0.0
    slots: int | None = None
    """How many works are measured at once by now, since nodes of a cluster come and go."""


# --- after a campaign: is its gain real, and where does it hold


class Opened(Happened):
    """The sealed test text is about to be read; from here on it counts as read, come what may."""

    event: Literal["opened"] = "opened"
    by: str
    """The command."""
    commits: tuple[str, ...]
    """Full hashes of what is to be scored on it."""


class Verified(Happened):
    """What a verification found, as ``verify --json`` prints it."""

    event: Literal["verified"] = "verified"
    found: Mapping[str, Any]


class Transferred(Happened):
    """A kept edit was tried at another budget or size."""

    event: Literal["transfer"] = "transfer"
    transfer: Transfer


class Harvested(Happened):
    """A heat of a harvest is over, or what all its heats have shown."""

    event: Literal["harvested"] = "harvested"
    found: Mapping[str, Any]
    """By the names of ``State.harvested``; ``pairs`` are those that are new."""


class PriorLent(Happened):
    """The prior starts from what another campaign has learnt, or from what published ones show."""

    event: Literal["prior"] = "prior"
    tag: str
    """The other campaign's; "" for published ones."""
    alike: float
    """In [0, 1]; see ``steps.lend``."""
    logits: Mapping[str, float]
    """By category of this campaign, tempered."""
    described: Mapping[str, str] = {}
    """Digests of their descriptions, by which one that gets another name is known."""


class Profiled(Happened):
    """A champion was profiled, or could not be, and is not again; see ``measure.profile``."""

    event: Literal["profiled"] = "profiled"
    commit: str
    found: Mapping[str, Any]
    """A ``trainer.results.Profile``."""


class Retired(Happened):
    """What earlier versions wrote, and has no meaning now: a wait for a quieter machine."""

    event: Literal["busy"] = "busy"


class Unknown(Happened):
    """An event of another version, of which only the name is kept."""

    event: str


Known = (
    CampaignBegun | RunBegun | RunEnded | ProgramRead | TrialBegun | Asking | Proposed
    | IdeaDropped | Waiting | Refused | TurnedDown | SentBack | EnvelopeChosen | CandidateMade
    | CarriedOver | TrainingBegun | TrainingOver | HeatBegun | HeatOver | Proved | Audited
    | Concluded | Opened | Verified | Transferred | Harvested | PriorLent | Profiled
    | NotebookAnswered | NotebookRead | Paused | Retired
)  # fmt: skip
Event = Known | Unknown
_ADAPTER: TypeAdapter[Known] = TypeAdapter(Annotated[Known, Field(discriminator="event")])
_NAMES = {model.model_fields["event"].default for model in get_args(Known)}


def read_event(stored: Mapping[str, Any], form: int = 1) -> Event:
    """The event that a line of a journal of format ``form`` holds.

    Raises:
        ValidationError: it is none, or lacks a field.
    """
    stored = upgraded(stored, form)
    name = stored.get("event")
    if isinstance(name, str) and name in _NAMES:
        return _ADAPTER.validate_python(stored)
    return Unknown.model_validate(stored)
