"""Honest training files of many kinds: none is refused, and each has learnt something.

A file here is appended to tests/tiny_train.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainer import measure as measuring
from trainer.jobs import job_of
from trainer.measure import MACHINE, Measurement, audit, check, measure, resolve
from trainer.results import AuditResult, ScoringResult
from trainer.training.job import Job

HONEST = sorted(p for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_"))
UNIFORM_GUESS_BPB = 8.0
SCORED_AGAIN = 2
AUDITED = [p for p in HONEST if p.stem in ("attention", "mixture_of_experts", "dropout")]
"""These are scored again and get the stronger audit; the others do in slow tests."""
SLOW_UNLESS_AUDITED = [
    p if p in AUDITED else pytest.param(p, marks=pytest.mark.slow) for p in HONEST
]


@dataclass(frozen=True)
class Training:
    """One training of a file, and where its weights are."""

    source: str
    weights: Path
    measured: Measurement

    def score_again(self) -> ScoringResult:
        """What another scoring of the same weights, with its own secret positions, says."""
        setting = resolve("cpu", "cpu")
        with MACHINE, self.weights.open("rb") as weights:
            job = job_of(setting, setting.preset.budget, self.source)
            assert isinstance(job, Job)
            return measuring.score(job, weights.fileno())

    def audit_again(self) -> AuditResult:
        """What the stronger audit says of the same weights."""
        measured = self.measured
        assert measured.val_bpb is not None
        return audit(
            self.source,
            self.weights,
            measured.val_bpb,
            train_seconds=measured.train_seconds,
            preset="cpu",
            device="cpu",
        )


@pytest.fixture(scope="module", params=HONEST, ids=lambda path: path.stem)
def training(
    request: pytest.FixtureRequest, tiny_source: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Training]:
    source = tiny_source + request.param.read_text()
    weights = tmp_path_factory.mktemp(request.param.stem) / "weights.safetensors"
    measured = measure(source, budget="60000tok", preset="cpu", device="cpu", weights_to=weights)
    yield Training(source, weights, measured)
    weights.unlink(missing_ok=True)


def test_is_believed(training: Training) -> None:
    measured = training.measured

    assert measured.status == "ok", measured.reason + measured.detail
    assert measured.val_bpb is not None and measured.val_bpb < 0.9 * UNIFORM_GUESS_BPB
    assert measured.leak_bound_bpb < 0.001
    assert 60_000 <= measured.tokens < 70_000
    assert measured.params > 0 and measured.steps > 0


@pytest.mark.parametrize("training", SLOW_UNLESS_AUDITED, ids=lambda path: path.stem, indirect=True)
def test_is_believed_again(training: Training) -> None:
    for _ in range(SCORED_AGAIN):
        scored = training.score_again()
        assert scored.status == "ok", scored.reason
        assert scored.val_bpb == pytest.approx(training.measured.val_bpb, abs=1e-5)
        assert scored.leak_bound_bpb < 0.001


@pytest.mark.parametrize("training", AUDITED, ids=lambda path: path.stem, indirect=True)
def test_is_kept(training: Training) -> None:
    found = training.audit_again()
    assert found.ok, found.reason
    assert found.leak_bound_bpb < 0.06


def test_no_false_alarm_in_fifty_scorings() -> None:
    """Each file's scorings above, the first one of its training among them."""
    assert len(HONEST) * (1 + SCORED_AGAIN) >= 50


@pytest.mark.process
def test_what_ships_is_believed() -> None:
    source = (Path(__file__).parents[2] / "trainer" / "train.py").read_text()

    checked = check(source, preset="cpu", device="cpu")

    assert checked.ok, checked.reason + checked.detail


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_false_alarm_in_fifty_stronger_audits(training: Training) -> None:
    for _ in range(-(-50 // len(HONEST))):
        found = training.audit_again()
        assert found.ok, found.reason
