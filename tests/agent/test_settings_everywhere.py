"""Every setting in each of its places: what is valid arrives, what is not is one clear line.

The command is the real one, in this process, up to where the settings are resolved.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from project import clone

from agent import cli
from agent.settings import COMMANDS, Lifetime, Settings, names, option
from agent.steps import start


class Row(NamedTuple):
    """One setting."""

    given: str
    """A valid value, as it is typed."""
    arrives: Any
    bad: dict[str, str]
    """Invalid text, as it is typed and as it stands in program.md, and what is said about it."""
    wrong_types: tuple[Any, ...]
    """Of YAML or of the journal."""


WHOLE = {"2.5": "valid integer", "five": "valid integer", "": "valid integer", "nan": "valid int"}
FROM_0 = {"-1": "greater than or equal to 0"}
NUMBER = {"nan": "finite number", "inf": "finite number", "five": "valid number", "": "valid num"}
NOT_WHOLE = (True, 1.5, "5", [1], {"a": 1})
NOT_A_NUMBER = (True, "5", [1], {"a": 1})
NOT_TEXT = (5, True, [1], {"a": 1})

ROWS = {
    "budget": Row(
        "5m", "300s", {"5x": "20s", "": "20s", "nans": "20s", "-5s": "20s", "0s": "at least"},
        (300, True, [1]),
    ),
    "preset": Row("laptop", "laptop", {"tpu": "auto, cpu, laptop", "": "auto, cpu"}, NOT_TEXT),
    "data": Row(
        "tinystories", "tinystories",
        {"moon": "apidocs, climbmix", "": "apidocs, climbmix", "files:": "files:PATH"}, NOT_TEXT,
    ),
    "keep": Row("strict", "strict", {"always": "'confirm', 'strict' or 'greedy'"}, NOT_TEXT),
    "proposer": Row("deck", "deck", {"oracle": "'tuner' or 'hybrid'", "": "'llm', "}, NOT_TEXT),
    "track": Row("wandb", "wandb", {"paper": "'tensorboard' or 'wandb'", "": "'none', "}, NOT_TEXT),
    "llm": Row("none", "none", {"": "auto, none, anthropic:MODEL", " ": "auto, none"}, NOT_TEXT),
    "trials": Row("7", 7, WHOLE | FROM_0 | {"1000000001": "less than or equal to"}, NOT_WHOLE),
    "hours": Row(
        "0.5", 0.5, NUMBER | {"-1": "greater than 0", "0": "greater than 0", "1e99": "less than"},
        NOT_A_NUMBER,
    ),
    "verify": Row("true", True, {}, (5, 0.5, [1])),
    "max_cost": Row("0", 0.0, NUMBER | FROM_0, NOT_A_NUMBER),
    "max_tokens": Row("9", 9, WHOLE | FROM_0, NOT_WHOLE),
    "ideas": Row(
        "3", 3, WHOLE | {"0": "greater than or equal to 1", "9": "less than or equal"}, NOT_WHOLE
    ),
    "heat": Row(
        "3", "3", {"0": "auto, or a whole", "8": "from 1 to 7", "many": "auto"}, (True, 1.5, [1])
    ),
    "sequential": Row("true", True, {}, (5, 0.5, [1])),
    "nulls": Row("0.5", 0.5, NUMBER | FROM_0 | {"0.6": "less than or equal to 0.5"}, NOT_A_NUMBER),
    "notebook": Row("false", False, {}, (5, 0.5, [1])),
    "workers": Row(
        "2", 2, WHOLE | {"0": "greater than or equal to 1", "513": "less than"}, NOT_WHOLE
    ),
    "ray": Row("auto", "auto", {}, ([1], {"a": 1})),
    "seed": Row("7", 7, WHOLE | FROM_0 | {str(2**63): "less than or equal to"}, NOT_WHOLE),
    "prior": Row("nov22", "nov22", {}, ([1], {"a": 1})),
    "isolation": Row("off", "off", {"maybe": "'auto', 'require' or 'off'"}, (True, 5, [1])),
    "notify": Row("wall -n", "wall -n", {"say 'hello": "No closing quotation"}, NOT_TEXT),
}  # fmt: skip
WITH_OPTION = names(Lifetime.CAMPAIGN, Lifetime.REMEMBERED, Lifetime.RUN)
IN_JOURNAL = names(Lifetime.CAMPAIGN, Lifetime.REMEMBERED)
FIXED = {"preset": "cpu", "budget": "20s", "data": "apidocs", "isolation": "auto", "seed": 0}


class Arrived(BaseException):
    """The settings are resolved; nothing that follows is of this test's."""


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project(newcomer: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    program = (newcomer / "program.md").read_text()
    monkeypatch.chdir(newcomer)
    yield newcomer
    (newcomer / "program.md").write_text(program)
    (newcomer / "campaigns/t/journal.jsonl").unlink(missing_ok=True)


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> Settings:
    resolve = start.resolve_settings

    def stop_here(*mappings: Any) -> Settings:
        raise Arrived(resolve(*mappings))

    monkeypatch.setattr(start, "resolve_settings", stop_here)
    monkeypatch.setattr(sys, "argv", ["agent", "run", "--tag", "t", *args])
    with pytest.raises(Arrived) as arrived:
        cli.main()
    (settings,) = arrived.value.args
    assert isinstance(settings, Settings)
    return settings


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """What is said, which is one line."""
    monkeypatch.setattr(sys, "argv", ["agent", "run", "--tag", "t", *args])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == "" and line.startswith("error: ")
    return line


def write(project: Path, name: str, value: str) -> None:
    """Into the front matter, as its second line."""
    path = project / "program.md"
    path.write_text(path.read_text().replace("---\n", f"---\n{name}: {value}\n", 1))


def in_yaml(text: str) -> str:
    """How one would write the value that is typed so."""
    return text if text.strip() and not text.endswith(":") else repr(text)


def record(project: Path, name: str, value: Any) -> None:
    """A campaign with that value in its journal, where it is fixed or remembered."""
    fixed = FIXED | ({name: value} if name in FIXED else {})
    given = {} if name in FIXED else {name: value}
    free = {"keep": "confirm", "proposer": "hybrid", "llm": "none", "trials": 0, "hours": None}
    free |= {"max_cost": None, "max_tokens": None, "nulls": 0.05}
    events = [
        {"event": "campaign", "tag": "t", "base": "0" * 40, **fixed, "device": "cpu"},
        {"event": "run", "pid": 1, "given": given, **free},
    ]
    folder = project / "campaigns/t"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"n": n, "time": 1.0, **event}) for n, event in enumerate(events)]
    (folder / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines))


def typed(name: str) -> tuple[str, ...]:
    """A setting with its valid value; one that is a flag has none."""
    return (option(name),) if ROWS[name].arrives is True else (option(name), ROWS[name].given)


def cases(field: str, among: tuple[str, ...]) -> list[tuple[str, Any]]:
    return [(name, bad) for name in among for bad in getattr(ROWS[name], field)]


def test_the_table_has_every_setting() -> None:
    assert ROWS.keys() == Settings.model_fields.keys()
    assert set(ROWS) - set(WITH_OPTION) == {"nulls", "notebook"}


def test_each_has_one_lifetime() -> None:
    for field in Settings.model_fields.values():
        lifetimes = [one for one in Lifetime if one in field.metadata]
        assert len(set(lifetimes) - {Lifetime.LIVE}) == 1 or lifetimes == [Lifetime.LIVE]


def test_help_has_every_option_with_its_bounds_and_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["agent", "run", "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        cli.main()
    text = capsys.readouterr().out
    lines = {
        name: next(x for x in text.splitlines() if f"{option(name)} " in x and "│" in x)
        for name in WITH_OPTION
    }
    assert "INTEGER >=0 <=1000000000" in lines["trials"]
    assert "NUMBER >0" in lines["hours"]
    assert "confirm|strict|greedy" in lines["keep"] and "; default: confirm." in lines["keep"]
    assert "default" not in lines["trials"] and "; default: 0." in lines["seed"]
    assert "a kind of machine: auto, cpu, laptop, gpu, h100; default: auto." in lines["preset"]
    assert "--nulls" not in text


@pytest.mark.parametrize("name", WITH_OPTION)
def test_the_command_line(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    settings = run(monkeypatch, *typed(name))
    assert getattr(settings, name) == ROWS[name].arrives
    assert settings == Settings(**{name: ROWS[name].arrives})


@pytest.mark.parametrize(("name", "bad"), cases("bad", WITH_OPTION))
def test_the_command_line_names_what_is_wrong(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    bad: str,
) -> None:
    said = refused(monkeypatch, capsys, option(name), bad)
    assert said.startswith(f"error: {option(name)}: ")
    assert bad in said and ROWS[name].bad[bad] in said
    assert not (project / "campaigns/t").exists()


@pytest.mark.parametrize("name", ROWS)
def test_front_matter(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write(project, name, ROWS[name].given)
    assert run(monkeypatch) == Settings(**{name: ROWS[name].arrives})


@pytest.mark.parametrize(
    ("name", "bad", "said"),
    [(name, in_yaml(bad), ROWS[name].bad[bad]) for name, bad in cases("bad", tuple(ROWS))]
    + [
        (name, json.dumps(bad), "")
        for name, bad in cases("wrong_types", tuple(ROWS))
        if bad != "5" and (name not in COMMANDS or isinstance(bad, list | dict))  # read as text
    ],
)
def test_front_matter_names_what_is_wrong_with_its_line(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    bad: str,
    said: str,
) -> None:
    write(project, name, bad)
    line = refused(monkeypatch, capsys)
    assert f"program.md, line 2: {name}: " in line
    assert said in line


@pytest.mark.parametrize("name", IN_JOURNAL)
def test_the_journal(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    record(project, name, ROWS[name].arrives)
    assert run(monkeypatch) == Settings(**{**FIXED, name: ROWS[name].arrives})


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *cases("wrong_types", IN_JOURNAL),
        *[("seed", -1), ("max_cost", float("nan")), ("keep", "always"), ("data", "moon")],
    ],
)
def test_the_journal_names_what_is_wrong(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    bad: Any,
) -> None:
    record(project, name, bad)
    said = refused(monkeypatch, capsys)
    assert name in said and "journal" in said


@pytest.mark.parametrize("name", WITH_OPTION)
def test_the_command_line_comes_before_front_matter(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    default = {"trials": 3, "hours": 3.0, "max_cost": 3.0, "max_tokens": 3, "budget": "7s"}
    other = default.get(name, Settings.model_fields[name].default)
    write(project, name, str(other))
    assert run(monkeypatch, *typed(name)) == Settings(**{name: ROWS[name].arrives})


def test_what_is_not_set_in_front_matter_is_not_given(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "keep", "")
    assert run(monkeypatch) == Settings()
