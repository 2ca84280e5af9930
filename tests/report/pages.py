"""A page that is served for tests, of a campaign to which events can be added."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from events import campaign

from agent.campaign.events import Event, read_event
from agent.campaign.live import Live
from agent.campaign.state import fold
from agent.report.page.server import make_app
from trainer.errors import UserError

TOKEN = "the-secret"


class Told:
    """A campaign to look at, to which events can be added."""

    recorded, is_over, tag = "", False, "t"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.story = campaign()
        self.story.events[2]["text"] = "# program\n\n## Categories\n\n- **schedule**: rates\n"
        self.state = self.story.state
        self._told = len(self.story.events)
        self.pid: int | None = 1
        self.live: Live | None = None

    def news(self) -> Iterator[Event]:
        new, self._told = self.story.events[self._told :], len(self.story.events)
        for event in map(read_event, new):
            fold([event], self.state)
            yield event


class Site:
    """The server, and requests to it."""

    def __init__(self, told: Told, port: int, clicks: list[tuple[str, Any]]) -> None:
        self.told, self.port, self.clicks = told, port, clicks
        self.host = f"127.0.0.1:{port}"
        self.address = f"http://{self.host}/{TOKEN}/"

    def ask(
        self, path: str, sent: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str, Mapping[str, str]]:
        body = None if sent is None else json.dumps(sent)
        own = {"Host": self.host, "Origin": f"http://{self.host}"}
        own |= {"Content-Type": "application/json", **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            connection.putrequest("GET" if sent is None else "POST", path, skip_host=True)
            for name, value in own.items():
                if value:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body.encode() if body else None)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.headers)


@contextlib.contextmanager
def served(
    told: Any, answers: Mapping[str, Any] | None, notes: Callable[[], Any] | None = None
) -> Iterator[int]:
    """The application on a free port; yields the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        hosts = {f"127.0.0.1:{port}"}
        app = make_app(told, TOKEN, lambda: hosts, answers, notes, lambda: server.should_exit)
        how = {"log_level": "error", "lifespan": "off", "ws": "none"}
        server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=30, **how))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def site_of(folder: Path) -> Iterator[Site]:
    """A site whose controls only remember what was clicked."""
    told, clicks = Told(folder), []

    def click(name: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
        def answer(sent: Mapping[str, Any]) -> Mapping[str, Any]:
            clicks.append((name, sent))
            if sent.get("fail"):
                raise UserError("it was not done")
            return {"said": f"{name} done"}

        return answer

    names = ("pause", "stop", "idea", "notes")
    notes = {"notes": "a hunch", "version": "v", "path": "program.md"}
    with served(told, {name: click(name) for name in names}, lambda: notes) as port:
        yield Site(told, port, clicks)
