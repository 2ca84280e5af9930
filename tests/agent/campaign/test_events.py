"""Lines of a journal that are no event, or one of another version."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.campaign.events import RunEnded, Unknown
from agent.campaign.journal import Journal, JournalError, read_events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaigns/t/journal.jsonl"


NEWER = [
    b'{"n":2,"time":1.0,"event":"stop"}',
    b'{"n":2,"time":1.0,"event":"stop","reason":{"code":7}}',
    b'{"n":2,"time":1.0,"event":"proof","trial":1,"proof":"newer"}',
]


@pytest.mark.parametrize("line", NEWER)
def test_a_known_event_that_is_not_as_it_should_be_is_named_and_stays(
    line: bytes, path: Path
) -> None:
    """Also as the last line: it is whole, so no kill has cut it off."""
    with Journal(path) as journal:
        journal.append(RunEnded(reason="asked to stop"))
    content = path.read_bytes() + line + b"\n"
    path.write_bytes(content)
    for action in (read_events, Journal):
        with pytest.raises(
            JournalError, match=r"line 2 is not an event.*(reason|proof): .*newer version"
        ):
            action(path)
    assert path.read_bytes() == content


def test_an_event_of_a_newer_version_is_kept_by_its_name(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(RunEnded(reason="asked to stop"))
    with path.open("ab") as file:
        file.write(b'{"n":1,"time":1.0,"event":"merged","of":["a","b"],"reason":null}\n')
    with Journal(path) as journal:
        assert journal.append(RunEnded(reason="asked to stop")).n == 2
    (_, unknown, _) = read_events(path)
    assert unknown == Unknown(n=1, time=1.0, event="merged")


@pytest.mark.parametrize("name", ["[1]", "null", "{}"])
def test_an_event_whose_name_is_none_is_named(name: str, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f'{{"n":0,"time":1.0,"event":{name}}}\n')
    with pytest.raises(JournalError, match=r"line 1 is not an event.*event: input should be"):
        read_events(path)
