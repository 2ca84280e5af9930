"""What a campaign does on a disk that fills up or cannot be written; ``test_small_disk`` runs it.

The working folder is a repository, ``campaigns/`` a small file system of its own.
"""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path

from agent.campaign import snapshot
from agent.campaign.events import ProgramRead, RunEnded
from agent.campaign.journal import read_events
from agent.campaign.lines import Reader
from agent.campaign.state import fold
from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.settings import Settings
from trainer.errors import UserError
from trainer.scoring import parent

FILLER = Path("campaigns/filler")
BIG = "".join(chr(97 + i % 26) for i in range(100_000))


def fill(left: int = 0) -> None:
    """Take all of the disk but so many bytes."""
    with FILLER.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - left))


def begun() -> Campaign:
    campaign = Campaign(Repo.open(Path.cwd()), "t")
    if campaign.is_new:
        campaign.begin(Settings(preset="cpu", budget="20s", llm="none"), {"device": "cpu"})
    return campaign


def refused(action: object) -> str:
    try:
        action()  # type: ignore[operator]
    except UserError as error:
        assert "\n" not in str(error)
        return str(error)
    raise AssertionError("it was not refused")


def journal_line() -> None:
    campaign = begun()
    before = read_events(campaign.journal.path)
    fill(left=8192)
    print(refused(lambda: campaign.record(ProgramRead(sha256="1", text=BIG))))
    assert read_events(campaign.journal.path) == before
    FILLER.unlink()
    campaign.record(RunEnded(reason="goes on"))
    campaign.close()
    again = begun()
    assert again.journal.torn is None
    assert again.state == fold(Reader(again.journal.path)) and again.state.stop_reason == "goes on"


def trial_file() -> None:
    """What the journal can still take is recorded: a reply, and what the training came to."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    campaign = begun()
    campaign.write(1, "reply.md", "whole")
    fill(left=8192)
    campaign.write(1, "reply.md", BIG)
    campaign.record(RunEnded(reason="the journal goes on"))
    trial = campaign.folder / "trials" / "1"
    assert [path.name for path in trial.iterdir()] == ["reply.md"]
    assert (trial / "reply.md").read_text() == "whole"


def weights_file() -> None:
    begun().close()
    fill(left=8192)
    path = FILLER.with_name("training-1.safetensors")
    print(refused(lambda: parent._copy(io.BytesIO(BIG.encode()), path)))
    assert not list(path.parent.glob("training*"))


def snapshot_file() -> None:
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    campaign = begun()
    campaign.record(ProgramRead(sha256="1", text=BIG))
    snapshot.EVENTS = 1
    fill(left=8192)
    campaign._save_snapshot()
    assert not (campaign.folder / snapshot.SNAPSHOT).exists()
    FILLER.unlink()
    campaign.record(RunEnded(reason="goes on"))


def read_only() -> None:
    campaign = begun()
    campaign.record(RunEnded(reason="x"))
    campaign.close()
    subprocess.run(["mount", "-o", "remount,ro", "campaigns"], check=True)
    print(refused(begun))
    assert snapshot.read_state(campaign.journal.path) == campaign.state, "to look needs no writing"


if __name__ == "__main__":
    globals()[sys.argv[1]]()
