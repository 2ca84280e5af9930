"""Lines of a journal that disks, editors and other versions have changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from events import Story, campaign
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.campaign.events import CampaignBegun, Event, RunBegun, RunEnded, read_event
from agent.campaign.journal import Journal, JournalError, read_events
from agent.campaign.lines import write_line

RECORDED = Path(__file__).parent / "recorded" / "2026-11-28.jsonl"


@cache
def story(count: int = 12) -> list[Event]:
    return [read_event(event) for event in campaign().events[:count]]


@cache
def lines(count: int = 12) -> list[bytes]:
    return [write_line(event) for event in story(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_a_line_ends_with_the_checksum_of_the_rest() -> None:
    line = write_line(RunEnded(n=3, time=1.5, reason="asked to stop"))
    body, _, checksum = line.rpartition(b',"crc":"')
    assert body == b'{"n":3,"time":1.5,"event":"stop","reason":"asked to stop"'
    assert checksum == b'72de2c7a"}\n'


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_no_changed_byte_is_read_as_something_that_happened(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Of the last line only the others are left, which is told when the journal is opened."""
    content, path = bytearray(b"".join(lines())), tmp_path_factory.mktemp("c") / "journal.jsonl"
    at = data.draw(st.integers(0, len(content) - 1))
    before = content[at]
    content[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != before))
    path.write_bytes(content)
    ends_sound = len(content) - len(lines()[-1]) - 1
    if at >= ends_sound:
        assert read_events(path) == story()[: -1 if at > ends_sound else -2]
        return
    with pytest.raises(JournalError) as caught:
        read_events(path)
    (line,) = str(caught.value).splitlines()
    assert "restore the file from a copy" in line or "install that" in line
    assert f"line {content[:at].count(10) + 1} " in line


def dropped(found: list[bytes]) -> bytes:
    return b"".join(found[:3] + found[4:])


CHANGES: dict[str, tuple[Callable[[list[bytes]], bytes], str]] = {
    "a line is gone": (dropped, "line 4 .*it is number 4 where 3 is due"),
    "the first half is gone": (lambda found: b"".join(found[6:]), "line 1 .*number 6 where 0"),
    "a line is there twice": (
        lambda found: b"".join(found[:4] + found[3:]),
        "line 5 .*number 3 where 4",
    ),
    "zeros in the middle": (
        lambda found: b"".join(found[:3]) + bytes(4096) + b"".join(found[4:]),
        "line 4 .*not JSON",
    ),
    "two journals in one": (lambda found: b"".join(found * 2), "line 13 .*number 0 where 12"),
    "no checksum after lines that have one": (
        lambda found: b"".join(
            [*found[:4], found[4].rpartition(b',"crc"')[0] + b"}\n", *found[5:]]
        ),
        "line 5 .*its checksum is missing",
    ),
    "a byte order mark": (lambda found: b"\xef\xbb\xbf" + b"".join(found), "line 1 .*not JSON"),
    "in UTF-16": (
        lambda found: b"".join(found).decode().encode("utf-16"),
        "line 1 .*not JSON",
    ),
    "an empty line": (lambda found: b"".join([*found[:2], b"\n", *found[2:]]), "line 3 .*not JSON"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_what_is_lost_or_changed_is_one_clear_line_and_stays_as_it_is(how: str, path: Path) -> None:
    change, told = CHANGES[how]
    path.write_bytes(content := change(lines()))
    for action in (read_events, Journal):
        with pytest.raises(
            JournalError, match=rf"journal\.jsonl {told}.*restore the file"
        ) as caught:
            action(path)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    assert list(path.parent.glob("*.torn-*")) == []


TORN: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda line: line[:-20],
    "no line feed": lambda line: line[:-1],
    "zeros to its end": lambda line: line[:20] + bytes(len(line)),
    "zeros and a line feed": lambda line: bytes(100) + line[-5:],
    "a page of zeros behind it": lambda line: bytes(4096),
    "another byte": lambda line: line.replace(b"t", b"T", 1),
    "an empty line": lambda line: b"\n",
    "with a line feed in it": lambda line: b"\x01\x02\n\x07",
    "whose second half is whole": lambda line: line[:20] + b"\n" + line[20:],
    "some empty lines": lambda line: b"\n\r\n\n",
}


@pytest.mark.parametrize("how", TORN)
def test_a_torn_last_line_is_set_aside_and_the_journal_goes_on(how: str, path: Path) -> None:
    whole = lines()
    path.write_bytes(b"".join(whole[:-1]) + (torn := TORN[how](whole[-1])))
    assert read_events(path) == story()[:-1]
    with Journal(path) as journal:
        assert journal.events == story()[:-1]
        assert journal.torn is not None and journal.torn.read_bytes() == torn
        assert journal.append(RunEnded(reason="again")).n == 11
    assert len(read_events(path)) == 12


def test_line_ends_of_another_system_change_nothing(path: Path) -> None:
    path.write_bytes(b"".join(lines()).replace(b"\n", b"\r\n"))
    assert read_events(path) == story()
    with Journal(path) as journal:
        assert journal.torn is None and journal.append(RunEnded(reason="x")).n == 12
    assert len(read_events(path)) == 13


@pytest.mark.parametrize("form", [3, 99, -1, None])
def test_another_format_is_one_clear_line(form: object, path: Path) -> None:
    """Also in the last line, which is whole."""
    begun = RunBegun.model_construct(n=12, time=1.0, format=form, settings={})
    content = b"".join(lines()) + write_line(begun)
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"line 13 is of journal format .* of a newer version"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_campaign_of_format_1_goes_on_in_this_one(path: Path) -> None:
    shutil.copy(RECORDED, path)
    before = read_events(path)
    with Journal(path) as journal:
        assert journal.events == before and journal.place.form == 1
        journal.append(RunBegun(settings={"llm": "none"}))
        assert journal.place.form == 2
    assert path.read_bytes().startswith(RECORDED.read_bytes())
    assert read_events(path)[:-1] == before
    with path.open("ab") as file:
        file.write(b'{"n":99,"time":1.0,"event":"busy"}\n{"n":100,"time":1.0,"event":"busy"}\n')
    with pytest.raises(JournalError, match="its checksum is missing"):
        read_events(path)


def test_what_earlier_formats_wrote_is_read_as_what_is_written_now() -> None:
    old = Story()
    old.baseline()
    for stored in old.events:
        event = read_event(stored, 1)
        again = read_event(event.model_dump(), 2)
        assert again == event
    began = read_event(old.events[0])
    assert isinstance(began, CampaignBegun) and began.settings["preset"] == "cpu"
    assert not {"n", "time", "event", "format"} & began.settings.keys()
