"""Follow a campaign that another process runs, event by event, as its journal grows."""

from __future__ import annotations

from collections.abc import Iterator

from agent.campaign import reading, snapshot
from agent.campaign.events import Event
from agent.campaign.files import JOURNAL, folder_of
from agent.campaign.lines import Reader
from agent.campaign.live import Live, read_live
from agent.campaign.state import fold
from agent.git.repo import Repo


class Following:
    """A campaign as somebody else sees it who looks again and again."""

    recorded = ""
    """What to say of a campaign that is played from a record; this one happens now."""

    def __init__(self, repo: Repo, tag: str) -> None:
        """Reads all that has happened so far.

        Raises:
            CampaignError: there is no such campaign. JournalError: it cannot be read.
        """
        reading.load(repo, tag)  # says which there are
        self.tag, self.folder = tag, folder_of(repo, tag)
        self._repo, journal = repo, folder_of(repo, tag) / JOURNAL
        found, place = snapshot.restore(journal)
        self._reader = Reader(journal, place)
        self.state = fold(self._reader, found)

    def news(self) -> Iterator[Event]:
        """What has happened since; ``state`` is the one after the event that was yielded last.

        Raises:
            JournalError: the journal cannot be read.
        """
        for event in self._reader:
            fold([event], self.state)
            yield event

    @property
    def pid(self) -> int | None:
        """Process id of the run under way; None if none is, or the campaign was removed."""
        return reading.run_of(self.state, reading.running(self._repo, self.tag))

    @property
    def live(self) -> Live | None:
        """What the run does at this moment."""
        return read_live(self.folder)

    @property
    def is_over(self) -> bool:
        """Whether no run is under way."""
        return self.pid is None
