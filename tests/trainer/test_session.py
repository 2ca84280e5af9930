"""What train.py may use, without a parent."""

import math

import numpy as np
import pytest
import torch

from trainer.presets import Budget
from trainer.session import DONE_FALSE, DONE_TRUE, Clock, ContractError, Session, Source, Spec

CPU = torch.device("cpu")


def source(tokens, *, in_domain=True) -> Source:
    tokens = np.asarray(tokens, dtype=np.uint16)
    return Source(tokens, np.zeros(1, dtype=np.int64), 1.0, in_domain)


@pytest.fixture
def now(monkeypatch):
    """A clock that the test turns."""
    time = [100.0]
    monkeypatch.setattr("trainer.session.time.monotonic", lambda: time[0])
    return time


def started(budget: Budget, sources=None, emit=None) -> Session:
    session = Session(
        spec=Spec(257, 8),
        device=CPU,
        seed=3,
        clock=Clock(budget),
        await_data=lambda: sources or {"a": source(range(100))},
        emit=emit or (lambda message: None),
    )
    session.ready()
    return session


class TestClock:
    def test_seconds(self, now):
        session = started(Budget(seconds=10))
        assert session.progress() == 0.0
        now[0] += 2.5
        assert session.progress() == 0.25
        now[0] += 99
        assert session.progress() == 1.0

    def test_time_before_ready_does_not_count(self, now):
        clock = Clock(Budget(seconds=10))
        now[0] += 1000
        clock.start()
        assert clock.progress() == 0.0

    def test_done_leaves_room_for_a_step(self, now):
        session = started(Budget(seconds=10))
        ends = []
        while not session.done():
            now[0] += 1.0
            ends.append(now[0] - 100)
        assert 7 <= ends[-1] <= 9

    def test_one_slow_step_is_remembered(self, now):
        session = started(Budget(seconds=8))
        for step in (3.0, 1.0):
            assert not session.done()
            now[0] += step
        assert session.done()

    def test_tokens(self):
        session = started(Budget(tokens=32))
        assert not session.done()
        session.consumed(16)
        assert session.progress() == 0.5
        session.consumed(16)
        assert session.progress() == 1.0
        assert session.done()

    @pytest.mark.parametrize(
        ("told", "handed", "counted"),
        [
            ([16, 16], [2, 2], 32),  # as a file should
            ([4, 4], [2, 2], 32),  # too few are told
            ([], [2, 2], 32),  # none is told
            ([16, 16], [], 32),  # rows of its own cutting
            ([16, 16, 16], [2, 2], 48),  # more are told than were handed out
            ([16], [2, 0], 16),  # a batch is trained on twice: free, as the contract says
        ],
    )
    def test_what_a_budget_of_tokens_counts(self, told, handed, counted):
        session = started(Budget(tokens=64))
        for rows in handed:
            session.batch(np.zeros((rows, 9), dtype=np.uint16))
        for tokens in told:
            session.consumed(tokens)
        assert session.progress() == counted / 64

    def test_batches_of_the_warm_up_do_not_count(self):
        session = Session(
            spec=Spec(257, 8), device=CPU, seed=3, clock=Clock(Budget(tokens=64)),
            await_data=lambda: {"a": source(range(100))}, emit=lambda message: None,
        )  # fmt: skip
        session.batch(np.zeros((8, 9), dtype=np.uint16))
        session.ready()
        assert session.progress() == 0.0

    def test_steps(self):
        session = started(Budget(steps=3))
        assert [session.done() for _ in range(5)] == [False, False, False, True, True]

    def test_a_trace_gives_the_same_answers(self, now):
        def answers(clock: Clock) -> list[float]:
            given = []
            while not clock.done():
                given.append(clock.progress())
                now[0] += 0.3
            return given

        clock = Clock(Budget(seconds=2))
        clock.start()
        first = answers(clock)
        again = Clock(Budget(seconds=2), replay=list(clock.trace))
        again.start()
        now[0] += 500

        assert answers(again) == first
        assert again.trace == clock.trace
        assert clock.trace[-1] == DONE_TRUE and clock.trace[0] == DONE_FALSE

    def test_a_replay_takes_turns(self, now):
        turns = []

        def end_turn() -> tuple[float, float]:
            turns.append(now[0])
            now[0] += 50
            return 0.0, 1.0

        replay = [DONE_FALSE] * 4 + [DONE_TRUE]
        clock = Clock(Budget(seconds=2), replay, end_turn)
        clock.turn_seconds = 1.0
        clock.start()
        while not clock.done():
            now[0] += 0.7
        assert clock.trace == replay
        assert turns == pytest.approx([101.4, 152.8])

    def test_a_step_that_was_stopped_in_its_middle_does_not_end_the_training(self, now):
        """Only the parent knows for how long; neither is the next step taken for as long."""
        clock = Clock(Budget(seconds=2), end_turn=lambda: (0.3, 0.1))
        clock.turn_seconds = 0.1
        clock.start()
        assert not clock.done()
        now[0] += 60
        assert not clock.done()
        now[0] += 0.05
        assert not clock.done()

    def test_a_trace_does_not_serve_another_file(self):
        with pytest.raises(ContractError, match="not a done"):
            Clock(Budget(seconds=2), replay=[0.5]).done()
        with pytest.raises(ContractError, match="not a progress"):
            Clock(Budget(seconds=2), replay=[DONE_FALSE]).progress()
        with pytest.raises(ContractError, match="asked for one more"):
            Clock(Budget(seconds=2), replay=[]).progress()


class TestContract:
    def test_nothing_before_ready(self):
        session = Session(
            spec=Spec(257, 8),
            device=CPU,
            seed=0,
            clock=Clock(Budget(steps=1)),
            await_data=dict,
            emit=print,
        )
        for use in (session.done, session.progress, lambda: session.data):
            with pytest.raises(ContractError, match=r"before.*ready"):
                use()

    def test_ready_once(self):
        session = started(Budget(steps=1))
        with pytest.raises(ContractError, match="twice"):
            session.ready()


class TestLog:
    def test_a_loss_on_a_device_is_read_when_the_next_report_is_due(self, now):
        messages, read = [], []

        class Loss:
            def __init__(self, number):
                self.number = number

            def __float__(self):
                read.append(self.number)
                return self.number

        session = started(Budget(seconds=10), emit=messages.append)
        session.device = torch.device("cuda")
        for step in range(3):
            session.consumed(10)
            session.log(step, loss=Loss(float(step)))
            now[0] += 1.0
            assert read == [float(s) for s in range(step)]
        assert [(m["step"], m["tokens"], m["loss"]) for m in messages] == [
            (0, 10, 0.0),
            (1, 20, 1.0),
        ]
        assert session.logged_steps == 3

    def test_ten_a_second_and_plain_numbers(self, now):
        sent = []
        session = started(Budget(seconds=1), emit=sent.append)
        loss = torch.tensor(1.5)
        for step in range(100):
            now[0] += 0.01
            session.log(step, loss=loss, lr=0.1, odd=math.nan, none=None)
        assert 9 <= len(sent) <= 11
        assert sent[0] == {"event": "log", "step": 0, "tokens": 0, "loss": 1.5, "lr": 0.1}
        assert session.logged_steps == 100


class TestBatch:
    @pytest.mark.parametrize("dtype", [np.uint16, np.int64])
    def test_inputs_and_targets_are_a_step_apart_and_contiguous(self, dtype):
        session = started(Budget(steps=1))
        inputs, targets = session.batch(np.arange(18, dtype=dtype).reshape(2, 9))
        assert inputs.tolist() == [list(range(8)), list(range(9, 17))]
        assert targets.tolist() == [list(range(1, 9)), list(range(10, 18))]
        for ids in (inputs, targets):
            assert ids.dtype == torch.int64 and ids.is_contiguous() and ids.shape == (2, 8)

    def test_there_is_one_before_ready_for_the_warm_up(self):
        session = Session(
            spec=Spec(257, 8),
            device=CPU,
            seed=0,
            clock=Clock(Budget(steps=1)),
            await_data=dict,
            emit=print,
        )
        assert session.batch(np.zeros((1, 9), np.int64))[0].shape == (1, 8)
