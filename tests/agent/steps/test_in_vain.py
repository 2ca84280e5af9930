"""Replies that come to nothing: an outage is waited for, what costs money ends, reasons are told.

Models are real ones, over loopback or as programs; trainings are stood in for.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from model_server import Answer, Failure, Server, Step
from replies import block
from staged import answer

from agent import loop
from agent.campaign import events
from agent.campaign.journal import read_events
from agent.models.choose import open_model
from agent.models.http import SDKModel
from agent.models.types import Misconfigured
from agent.proposers.llm import LLMProposer
from agent.steps import propose, start
from agent.steps.runtime import Runtime, Stopped

PLACE = "    session.ready()\n"
KEY = "sk-secret-0123456789abcdef"
CUT = Answer("begun, and then it goes on for more than a piece of it", stop="cut")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits; each edit is worse."""
    monkeypatch.setattr(propose, "OUTAGE_SECONDS", (0.0, 0.0))
    answer(monkeypatch, lambda source, seed: 1.9 if "kind = " in source else 1.5)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        """As long as a test likes."""

    monkeypatch.setattr("anyio.sleep", sleep)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def edit(runtime: Runtime, number: int = 0) -> str:
    """An edit that fits the trial that is open, each number another."""
    category = runtime.open_trial.category
    code = block(PLACE, f"{PLACE}    kind = {number}\n    del kind\n")
    return f"category: {category}\nhypothesis: it may help\n{code}"


def use(runtime: Runtime, spec: str, **environ: str) -> None:
    model, _ = open_model(spec, {**os.environ, **environ})
    assert model is not None
    runtime.proposer = LLMProposer(model)
    runtime.campaign.record(events.RunBegun(settings={"llm": model.name}))
    loop.baseline(runtime)


def over(runtime: Runtime, server: Server, kind: str, *script: Step) -> None:
    """Begin a trial whose model is the server's; its replies are edits where a text is "edit"."""
    use(runtime, f"{kind}:m", **{f"{kind.upper()}_API_KEY": KEY,
                                 f"{kind.upper()}_BASE_URL": server.url})  # fmt: skip
    loop.draw(runtime)
    while runtime.open_trial.is_null:
        loop.one_trial(runtime)
        loop.draw(runtime)
    server.script = [
        dataclasses.replace(step, text=edit(runtime)) if step == Answer("edit") else step
        for step in script
    ]


def happened(runtime: Runtime, kind: type[Any]) -> list[Any]:
    return [e for e in read_events(runtime.campaign.journal.path) if isinstance(e, kind)]


def shown(tmp_path: Path) -> str:
    return " ".join((tmp_path / "out.txt").read_text().split())


# --- what is paid for


USELESS = {
    "cut off at its limit": Answer(stop="length"),
    "declined to answer": Answer(stop="refusal", why="no"),
    "the reply is empty": Answer(text=""),
    "ended early": Answer(stop="pause_turn"),
    "nothing of an edit": Answer("The warm-down is fine as it stands, says the model."),
    "peer closed connection": CUT,
}


@pytest.mark.parametrize(
    ("kind", "said"), [*(("openai", said) for said in USELESS), ("anthropic", [*USELESS][-1])]
)
def test_what_is_paid_in_vain_ends_the_run_with_its_reason(
    runtime: Runtime, server: Server, tmp_path: Path, kind: str, said: str
) -> None:
    over(runtime, server, kind, USELESS[said])
    with pytest.raises(Misconfigured, match=f"6 times in a row in vain, at last: .*{said}") as why:
        while True:
            loop.one_trial(runtime)
    assert len(server.posts) == propose.IN_VAIN["paid"]
    assert "max_tokens" in str(why.value) and "--tag t goes on" in str(why.value)
    assert "2 times in a row in vain (the run ends after 6)" in shown(tmp_path)
    state = runtime.campaign.state
    assert happened(runtime, events.Refused)[-1].reason == str(why.value)
    assert len([t for t in state.trials if t.verdict == "rejected"]) <= 2
    assert not state.envelopes, "it says nothing of how well the model quotes lines"
    assert state.capped == (6 if USELESS[said] is CUT else 0), "what was lost is counted"


def test_what_is_paid_in_vain_now_and_then_ends_nothing(runtime: Runtime, server: Server) -> None:
    half = [Answer(stop="length")] * 2 + [CUT] * 3
    over(runtime, server, "openai", *half, Answer("edit"))
    loop.one_trial(runtime)
    assert runtime.campaign.state.trials[-1].verdict == "revert"
    assert runtime.in_vain["paid"] == 0


def test_prose_is_no_reason_to_ask_for_whole_files(runtime: Runtime, server: Server) -> None:
    """Most replies of each trial are prose, the last is an edit that is no experiment."""
    prose = Answer("The schedule is fine as it stands.")
    over(runtime, server, "openai", prose)
    for _ in range(propose.MISAPPLIED_TRIALS):
        if runtime.campaign.state.open_trial is None:
            loop.draw(runtime)
        server.script = [prose, prose, Answer(edit(runtime).replace("kind = 0", "# a comment"))]
        loop.one_trial(runtime)
    last = runtime.campaign.state.trials[-propose.MISAPPLIED_TRIALS :]
    assert [(t.verdict, len(t.rejections), t.misapplied) for t in last] == [("rejected", 3, 0)] * 3
    assert not propose.whole_file_is_due(runtime.campaign.state.real)


# --- outages


def test_an_outage_may_take_as_long_as_it_likes(
    runtime: Runtime, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SDKModel, "max_retries", 0)
    often = propose.LONG_OUTAGES[2]
    over(runtime, server, "openai", *[Failure(529), Failure(429)] * (often // 2), Answer("edit"))
    needed: list[tuple[str, str]] = []
    soon = lambda *told: needed.append(told)  # noqa: E731
    monkeypatch.setattr(runtime, "notify", SimpleNamespace(soon=soon))
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[-1]
    assert (trial.verdict, trial.rejections) == ("revert", ())
    assert len(happened(runtime, events.Waiting)) == often
    told = [(event, "not answered for about an hour" in words) for event, words in needed]
    assert told == [("needed", True)] * 3, "after 15, 30 and 60"
    assert (runtime.campaign.state.capped, runtime.campaign.state.outages) == (0, 0)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The names of hosts that are known."""
    known, real = {"127.0.0.1"}, socket.getaddrinfo

    def look_up(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(SDKModel, "max_retries", 0)
    monkeypatch.setenv("NO_PROXY", "*")
    yield known


@pytest.mark.parametrize(("kind", "setting"), [("openai", "OPENAI_BASE_URL"),
                                               ("anthropic", "ANTHROPIC_BASE_URL"),
                                               ("own server", "--llm")])  # fmt: skip
def test_a_name_that_was_never_known_ends_the_run(
    runtime: Runtime, names: set[str], kind: str, setting: str
) -> None:
    if kind == "own server":
        use(runtime, "openai:m@http://hots.test/v1")
    else:
        use(runtime, f"{kind}:m", **{f"{kind.upper()}_API_KEY": KEY, setting: "http://hots.test"})
    with pytest.raises(
        Misconfigured, match=r"8 times in a row .*http://hots\.test.*not known"
    ) as why:
        while True:
            loop.one_trial(runtime)
    assert setting in str(why.value) and "\n" not in str(why.value)
    assert len(happened(runtime, events.Waiting)) == 8


def test_a_name_that_was_known_is_waited_for(
    runtime: Runtime, server: Server, names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names.add("right.test")
    use(runtime, f"openai:m@{server.url.replace('127.0.0.1', 'right.test')}/v1")
    loop.draw(runtime)
    while runtime.open_trial.is_null:
        loop.one_trial(runtime)
        loop.draw(runtime)
    server.script = [Failure(529), Answer(edit(runtime))]
    waited = runtime.wait

    def wait(what: events.Waiting, seconds: float) -> None:
        often = len(happened(runtime, events.Waiting))
        (names.discard if often < 12 else names.add)("right.test")
        waited(what, seconds)

    monkeypatch.setattr(runtime, "wait", wait)
    loop.one_trial(runtime)
    assert runtime.campaign.state.trials[-1].verdict == "revert"
    assert len(happened(runtime, events.Waiting)) == 13


def test_a_name_that_an_earlier_run_knew_is_waited_for(runtime: Runtime, server: Server) -> None:
    over(runtime, server, "openai", Answer("edit"))
    loop.one_trial(runtime)
    for spec, found in (("openai:m", True), ("openai:m@http://hots.test/v1", False)):
        model, _ = open_model(spec, {**os.environ, "OPENAI_API_KEY": KEY})
        assert isinstance(model, SDKModel)
        start._remember_name(model, runtime.campaign.state)
        assert model.found is found


def test_a_key_that_is_revoked_in_mid_run_ends_it_and_is_asked_again(
    runtime: Runtime, server: Server
) -> None:
    over(runtime, server, "openai", Answer("edit"))
    loop.one_trial(runtime)
    server.script = [Failure(401, f"Incorrect API key provided: {KEY}", "authentication_error")]
    with pytest.raises(Misconfigured, match="check OPENAI_API_KEY"):
        while True:
            loop.one_trial(runtime)
    (refused,) = happened(runtime, events.Refused)
    assert "the key was refused" in refused.reason and KEY not in refused.reason
    open_trial = runtime.open_trial.trial
    server.script = [Answer(edit(runtime, 7))]
    resumed = dataclasses.replace(runtime)
    loop.one_trial(resumed)
    assert runtime.campaign.state.trials[-1].trial == open_trial
    assert runtime.campaign.state.trials[-1].verdict == "revert"


# --- programs

AGENT = """
import os, re, sys
prompt = sys.stdin.read()
count = len(open({count!r}, "a+").write("x") and open({count!r}).read())
{body}
category = re.findall(r"in the category \\*\\*(\\w+)\\*\\*", prompt)[-1]
print(f"category: {{category}}\\nhypothesis: it may help\\n" + {code!r})
"""


def program(runtime: Runtime, folder: Path, body: str) -> None:
    """Let a program propose, whose ``count`` is the number of times that it was asked."""
    path, count = folder / "agent.py", str(folder / "count")
    Path(count).touch()
    code = block(PLACE, f"{PLACE}    kind = 0\n    del kind\n")
    path.write_text(AGENT.format(count=count, body=body, code=code))
    use(runtime, f"command:'{sys.executable}' '{path}'", PYTHONUTF8="1")


def asked(folder: Path) -> int:
    return len((folder / "count").read_text())


@pytest.mark.process
@pytest.mark.parametrize(
    "prints",
    [
        "API Error: Rate limit reached",
        "",
        "Sorry, this did not work out. (request 4711)",
        '{"type": "result", "is_error": true, "result": "Overloaded"}',
    ],
)
def test_an_outage_that_a_program_prints_is_no_trial(
    runtime: Runtime, tmp_path: Path, prints: str
) -> None:
    program(runtime, tmp_path, f"if count <= 12: print({prints!r}.replace('4711', str(count)))\n"
                               "if count <= 12: sys.exit()")  # fmt: skip
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[-1]
    assert (trial.verdict, trial.rejections, asked(tmp_path)) == ("revert", (), 13)
    assert len(happened(runtime, events.Waiting)) == 12


@pytest.mark.process
@pytest.mark.parametrize("prints", ["Usage: agent [options]", ""])
def test_what_a_program_prints_without_end_is_told_as_what_it_is(
    runtime: Runtime, tmp_path: Path, prints: str
) -> None:
    program(runtime, tmp_path, f"print({prints!r})\nsys.exit()")
    with pytest.raises(Misconfigured, match=f"16 times in a row .*{re.escape(prints)}.*by hand"):
        loop.one_trial(runtime)
    assert runtime.open_trial.rejections == ()
    assert "in vain (the run ends after 16)" in shown(tmp_path)


@pytest.mark.process
def test_prose_goes_back_to_the_model_that_wrote_it(runtime: Runtime, tmp_path: Path) -> None:
    """That it speaks of itself says it is one, or that it says something else each time."""
    words = ["Which file is meant?", "There is none.", "I could not find a change that helps."]
    program(runtime, tmp_path, f"if count <= 3: print({words!r}[count - 1]); sys.exit()")
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[-1]
    assert trial.verdict == "revert"
    assert [reply.strip() for reply in trial.turned_down] == words[1:]
    assert len(happened(runtime, events.Waiting)) == 1, "for the first that can be a program's"


@pytest.mark.process
def test_what_a_program_cannot_mend_ends_the_run(runtime: Runtime, tmp_path: Path) -> None:
    program(runtime, tmp_path, "print('Invalid API key · Please run /login')\nsys.exit()")
    with pytest.raises(Misconfigured, match="Please run /login"):
        loop.one_trial(runtime)
    assert asked(tmp_path) == 1
    assert happened(runtime, events.Refused)


@pytest.mark.process
def test_a_filter_s_refusal_that_a_program_prints_is_no_outage(
    runtime: Runtime, tmp_path: Path
) -> None:
    said = "API Error: 400 Output blocked by content filtering policy"
    program(runtime, tmp_path, f"if count <= 2: print({said!r}); sys.exit()")
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[-1]
    assert (trial.verdict, asked(tmp_path), happened(runtime, events.Waiting)) == ("revert", 3, [])
    assert [said in reason for reason in trial.rejections] == [True, True]


@pytest.mark.process
def test_a_reset_that_is_told_is_waited_for(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propose, "OUTAGE_SECONDS", (30.0, 600.0))
    body = (
        "import time\nprint(f'Claude AI usage limit reached|{int(time.time()) + 125}')\nsys.exit()"
    )
    program(runtime, tmp_path, body)
    monkeypatch.setattr(runtime.stop, "wait", lambda seconds: runtime.stop.set() or True)
    with pytest.raises(Stopped):
        loop.one_trial(runtime)
    (waited,) = happened(runtime, events.Waiting)
    assert waited.until - waited.time == pytest.approx(125, abs=10)
