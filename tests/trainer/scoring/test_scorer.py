"""The scorer's arithmetic and its audits, with models that run in this process."""

import base64
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainer.contract import Code, Spec
from trainer.sandbox.confine import Confinement
from trainer.scoring import model as model_process
from trainer.scoring import prefixes, questions, scorer
from trainer.scoring.losses import cut_windows
from trainer.scoring.model import ModelProcess, Refused
from trainer.scoring.request import ScoreRequest

LENGTH, VOCABULARY = 16, 50
BOS = VOCABULARY - 1
RNG = np.random.default_rng(0)
TOKENS = np.concatenate(
    [np.concatenate([[BOS], RNG.integers(0, BOS, size)]) for size in (300, 5, 1, 700, 0, 211)]
)
JOB = ScoreRequest(
    code=Code("", Spec(VOCABULARY, LENGTH), "cpu", threads=1),
    confinement=Confinement("os", (), None),
    tokens="",
    text_bytes=3000,
    budget_seconds=1.0,
    startup_seconds=1.0,
)
EMBEDDING = torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(0))

Forward = Callable[[torch.Tensor], torch.Tensor]


class Child(ModelProcess):
    """Answers as an eval child does, in this process."""

    def __init__(
        self, forward: Forward, untrained: Forward, log: list[str], is_untrained: bool
    ) -> None:
        self._room = self._cut_room = 4 * LENGTH
        self._tokens, self._asked_tokens, self._spent = len(TOKENS), 0, [self.seconds()]
        self._limits = model_process.Limits(10.0, 10.0)
        self.forward = untrained if is_untrained else forward
        self.log = log
        log.append("start")

    def ask(self, batches):
        for batch in batches:
            self._spent.append(self.seconds())
            logits = self.forward(torch.from_numpy(batch.ids))
            if batch.at is not None:
                logits = logits[torch.arange(len(logits)), torch.from_numpy(batch.at)]
            wanted = torch.from_numpy(batch.targets)
            losses = F.cross_entropy(
                logits.flatten(0, -2), wanted.flatten(), ignore_index=-1, reduction="none"
            )
            yield losses.view(wanted.shape).numpy().astype(np.float64)

    def seconds(self) -> float:
        return time.thread_time()

    def close(self) -> None:
        self.log.append("end")


def not_initialised(ids: torch.Tensor) -> torch.Tensor:
    return torch.full((*ids.shape, VOCABULARY), math.nan)


def task(
    new_forward: Callable[[], Forward],
    log: list[str] | None = None,
    untrained: Forward = not_initialised,
    **job,
) -> scorer.Task:
    log = [] if log is None else log

    def start(untrained: bool = False, blank: Forward = untrained) -> Child:
        return Child(new_forward(), blank, log, untrained)

    return scorer.Task(replace(JOB, **job), TOKENS, start, lambda message: None)


def scored(*args, **job) -> dict:
    return scorer.score(task(*args, **job))


def honest(ids: torch.Tensor) -> torch.Tensor:
    return EMBEDDING[ids]


class TestWindows:
    def test_each_token_is_a_target_once(self):
        ids, targets = cut_windows(TOKENS, LENGTH, BOS)
        assert ids.shape == targets.shape and ids.shape[1] == LENGTH
        assert targets[targets >= 0].tolist() == TOKENS[1:][TOKENS[1:] != BOS].tolist()
        assert ids[0, 0] == BOS
        follows = np.append(ids.ravel()[1:], BOS).reshape(ids.shape)
        assert (follows[targets >= 0] == targets[targets >= 0]).all()

    @pytest.mark.parametrize("count", [2, LENGTH, LENGTH + 1, LENGTH + 2, 3 * LENGTH + 1])
    def test_any_length(self, count):
        _, targets = cut_windows(TOKENS[:count], LENGTH, BOS)
        assert int((targets >= 0).sum()) == count - 1


def test_bits_per_byte():
    losses = F.cross_entropy(honest(torch.from_numpy(TOKENS[:-1])), torch.from_numpy(TOKENS[1:]),
                             reduction="none")  # fmt: skip
    wanted = float(losses[torch.from_numpy(TOKENS[1:] != BOS)].double().sum()) / math.log(2) / 3000

    answer = scored(lambda: honest)

    assert answer["val_bpb"] == pytest.approx(wanted, rel=1e-6)
    assert answer["leak_bound_bpb"] == 0.0


def test_bits_by_document():
    told = scored(lambda: honest, by_document=True)
    wanted = [
        F.cross_entropy(honest(ids[:-1]), ids[1:], reduction="sum").item() / math.log(2)
        for ids in map(torch.from_numpy, np.split(TOKENS, np.flatnonzero(TOKENS == BOS)[1:]))
    ]
    bits = np.frombuffer(base64.b64decode(told["bits"]), dtype="<f8")
    assert bits.tolist() == pytest.approx(wanted, rel=1e-5)  # of an empty one 0
    assert bits.sum() == pytest.approx(told["val_bpb"] * JOB.text_bytes, rel=1e-12)
    assert "bits" not in scored(lambda: honest)


@pytest.mark.parametrize("length", [2, LENGTH, LENGTH + 1, LENGTH + 2, 302])
def test_bits_wherever_the_last_window_ends(length):
    cut = scorer.Task(JOB, TOKENS[:length], Child, print)
    assert cut.bits(cut.scored.astype(float)).sum() * math.log(2) == pytest.approx(cut.tokens)


def test_first_windows_only():
    assert task(lambda: honest, max_windows=8).tokens <= 8 * LENGTH
    assert scored(lambda: honest, max_windows=8)["leak_bound_bpb"] == 0.0


def test_the_audit_has_a_child_of_its_own_after_the_other_is_gone():
    log: list[str] = []
    scored(lambda: honest, log)
    assert log == ["start", "end"] * 3


def test_a_child_is_ended_when_it_is_refused():
    log: list[str] = []

    def failing(ids):
        raise Refused("shape: no")

    with pytest.raises(Refused):
        scored(lambda: failing, log)
    assert log == ["start", "end"]


def peek(ids):
    return honest(ids) + 9.0 * F.one_hot(ids.roll(-1, 1), VOCABULARY)


def peek_late(ids):
    late = torch.arange(LENGTH)[:, None] >= LENGTH * 3 // 4
    return honest(ids) + 9.0 * late * F.one_hot(ids.roll(-1, 1), VOCABULARY)


def peek_sometimes(ids):
    some = (ids % 3 == 0)[..., None]
    return honest(ids) + 9.0 * some * F.one_hot(ids.roll(-1, 1), VOCABULARY)


def window_mean(ids):
    return honest(ids) + 5.0 * F.one_hot(ids, VOCABULARY).float().mean(1, keepdim=True)


@pytest.mark.parametrize("forward", [peek, peek_late, peek_sometimes, window_mean])
def test_causality(forward):
    for _ in range(5):
        with pytest.raises(Refused, match=r"^causality: "):
            scored(lambda: forward)


def test_state():
    def fresh():
        seen = torch.zeros(VOCABULARY)

        def forward(ids):
            seen.add_(torch.bincount(ids.flatten(), minlength=VOCABULARY))
            return honest(ids) + 1.0 * seen.log1p()

        return forward

    for _ in range(5):
        with pytest.raises(Refused, match=r"^state: "):
            scored(fresh)


def test_company():
    def forward(ids):
        return honest(ids) + F.one_hot(ids.roll(1, 0), VOCABULARY)

    for _ in range(5):
        with pytest.raises(Refused, match=r"^state: "):
            scored(lambda: forward)


def test_no_false_alarm():
    def recurrent(ids):
        return honest(ids).cumsum(1) / torch.arange(1, LENGTH + 1)[:, None]

    for forward in (honest, recurrent):
        for _ in range(30):
            assert scored(lambda f=forward: f)["leak_bound_bpb"] < 1e-5


def test_a_model_that_needs_no_training_is_named():
    with pytest.raises(Refused, match=r"^movement: "):
        scored(lambda: honest, untrained=honest)


def test_a_model_that_has_hardly_learnt_is_not_refused_by_the_draw_of_windows():
    """A sixth of a nat better than another start of its own: a few windows often cannot tell."""
    chance = torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(2))
    follows = torch.zeros(VOCABULARY, VOCABULARY).index_put_(
        (torch.from_numpy(TOKENS[:-1]), torch.from_numpy(TOKENS[1:])), torch.tensor(0.15), True
    )
    for _ in range(30):
        found = scored(lambda: lambda ids: (chance + follows)[ids], untrained=honest)
        assert found["val_bpb"] > 0


def test_a_model_may_need_its_weights_to_answer_at_all():
    def crashing(ids):
        raise Refused("eval-crash: the model failed before logits")

    assert scored(lambda: honest, untrained=crashing)["val_bpb"] > 0


def test_two_steps_need_not_show_in_the_loss():
    assert scored(lambda: honest, untrained=honest, max_windows=8)["val_bpb"] > 0


def test_no_number_is_refused():
    with pytest.raises(Refused, match=r"^non-finite: "):
        scored(lambda: not_initialised)


def told(row, windows) -> tuple[int, int]:
    """Which window a row is a prefix of, with nothing but BOS after it, and how much of it."""
    length = int(np.flatnonzero(row != BOS).max(initial=-1)) + 1
    (window, *_) = np.flatnonzero((windows[:, :length] == row[:length]).all(1))
    return int(window), length


def rarely(ids):
    some = (ids * 31 % 47 == 0) & (ids.roll(1, 1) % 2 == 0)
    return honest(ids) + 9.0 * some[..., None] * F.one_hot(ids.roll(-1, 1), VOCABULARY)


class TestPrefixes:
    """The stronger audit."""

    def audited(self, forward: Forward, claimed: float | None = None, **job) -> dict:
        scoring = task(lambda: forward, **job)
        if claimed is None:
            claimed = scoring.bpb(float(scoring.real()[0][scoring.scored].mean()))
        return scorer.audit(scoring, claimed)

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch) -> None:
        """The text has 1,200 positions; a tenth of them."""
        monkeypatch.setattr(prefixes, "LEAST_CUTS", 120)

    def test_honest(self):
        answer = self.audited(honest)
        assert answer["cuts"] == 120
        assert 0 < answer["leak_bound_bpb"] < 0.1 * answer["val_bpb"]

    def test_time_lowers_the_charge(self):
        all_of_it = self.audited(honest, audit_seconds=1000.0)
        assert all_of_it["cuts"] > 1000
        assert all_of_it["leak_bound_bpb"] < 1e-6 < self.audited(honest)["leak_bound_bpb"]

    def test_it_asks_no_more_than_is_enough(self):
        enough = self.audited(honest, audit_seconds=1000.0, enough_bpb=0.03)
        assert 120 < enough["cuts"] < 1000
        assert enough["leak_bound_bpb"] < 0.035

    def test_a_leak_at_one_position_in_a_hundred(self):
        share = float(((TOKENS * 31 % 47 == 0) & (np.roll(TOKENS, 1) % 2 == 0)).mean())
        assert 0.002 < share < 0.03
        with pytest.raises(Refused, match=r"^causality: the prefix alone"):
            self.audited(rarely, audit_seconds=1000.0)

    @pytest.mark.parametrize("limit", ["eval-crash: no shorter ones", "shape: [B, 16, 50]"])
    def test_a_model_may_need_whole_windows(self, limit):
        def whole(ids):
            if ids.shape[1] != LENGTH:
                raise Refused(limit)
            return honest(ids)

        def whole_and_rarely(ids):
            return whole(ids) + rarely(ids) - honest(ids)

        assert self.audited(whole)["leak_bound_bpb"] > 0
        with pytest.raises(Refused, match=r"^causality: the prefix alone"):
            self.audited(whole_and_rarely, audit_seconds=1000.0)

    def test_the_length_of_a_window_may_matter(self):
        def scaled(ids):
            return honest(ids) * (1 + 0.1 * ids.shape[1])

        assert self.audited(scaled)["leak_bound_bpb"] > 0

    def test_a_model_that_remembers_is_told_nothing_of_what_is_to_come(self):
        asked: list[torch.Tensor] = []

        def listening(ids):
            asked.append(ids.clone())
            return honest(ids)

        scoring = task(lambda: listening)
        real, _ = scoring.real()
        text = prefixes.Text(scoring.ids, scoring.targets, real, BOS)
        asked.clear()
        _, cuts = prefixes.ask_with_prefixes(scoring.start_child, text, 600, 1000, scoring.emit)
        known: dict[int, int] = {}
        told_of = 0
        for batch in asked:
            if told_of == cuts:
                break  # the controls, unchanged windows, come last
            told_of += len(batch)
            now = [told(row, scoring.ids[:, : len(row)]) for row in batch.numpy()]
            now = [(window, length) for window, length in now if length > 3]  # one window's only
            assert all(length > known.get(window, 0) for window, length in now)
            assert len({window for window, _ in now}) == len(now)
            known |= dict(now)
        assert cuts == 600 and len(known) > 60

    def test_no_cut_at_a_windows_end_where_the_next_window_would_tell(self):
        scoring = task(lambda: honest)
        at = prefixes.Text(scoring.ids, scoring.targets, scoring.real()[0], BOS).positions % LENGTH
        assert set(at.tolist()) == set(range(LENGTH - 1))

    def test_another_score_than_was_claimed(self):
        with pytest.raises(Refused, match=r"^state: scored again"):
            self.audited(honest, claimed=1.0)


class TestThePriceOfAnswering:
    """A candidate's answers beside the champion's."""

    def taking(self, seconds: list[float], **job) -> dict:
        """A scoring whose answers take so many seconds in all, then so many at the next attempt."""
        clock = [0.0]
        taken = iter(seconds)

        class Slow(Child):
            def __init__(self, *args) -> None:
                super().__init__(*args)
                self._spent = [clock[0]]

            def ask(self, batches):
                batches = list(batches)
                each = next(taken, 0.0) / len(batches)
                for losses in super().ask(batches):
                    clock[0] += each
                    yield losses

            def seconds(self) -> float:
                return clock[0]

        scoring = task(lambda: honest, **job)
        scoring.start_child = lambda untrained=False: Slow(honest, not_initialised, [], untrained)
        return scorer.score(scoring)

    def test_a_few_times_the_champions_is_believed_and_told(self):
        assert self.taking([2.9], champion_seconds=1.0)["answer_seconds"] == pytest.approx(2.9, 0.1)

    def test_more_is_refused(self):
        with pytest.raises(Refused, match=r"^eval-time: .* to answer, at most 3.10 \(3 times"):
            self.taking([3.6, 3.7, 3.8], champion_seconds=1.0)

    def test_a_machine_may_be_slow_for_a_moment(self):
        assert self.taking([9.0, 2.0], champion_seconds=1.0)["val_bpb"] > 0

    def test_alone(self):
        assert self.taking([9.0])["val_bpb"] > 0
        with pytest.raises(Refused, match=r"^eval-time: .* to answer, at most"):
            self.taking([11.0])


def test_cut_has_a_scored_target_and_is_late_half_of_the_time():
    dice = random.Random(0)
    targets = RNG.integers(0, BOS, 100)
    targets[::7] = -1
    cuts = [questions._cut(dice, targets) for _ in range(1000)]
    assert all(targets[cut] >= 0 and cut < 99 for cut in cuts)
    assert 500 < sum(cut >= 75 for cut in cuts) < 750
    assert questions._cut(dice, np.array([3])) == 0
    assert questions._cut(dice, np.array([-1, -1, 5])) == 2
