"""The page live on loopback: news as server-sent events, and a person's clicks.

Starlette on uvicorn, since both are small, well kept, and all that they need is here already. Only
who knows the token in the address gets anything; a request under another name for this host (DNS
rebinding), or from another site's page, gets nothing. No answer is kept by the browser, shown
inside another page, or allows a script that is not the page's own.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from agent.campaign import reading
from agent.campaign.files import is_paused
from agent.report.narrate import Watched
from agent.report.page import build, data
from agent.report.view import Advice, View, at_moment, view
from trainer.errors import UserError
from trainer.untrusted import one_line

HOST = "127.0.0.1"
LOOK_SECONDS = 0.5
BEAT_SECONDS = 10.0
"""After so long without news a comment is sent: a connection that is gone shows itself."""
MOST_BYTES = 2_000_000
"""Of what a page sends."""
OF_RECORDED = (Advice("begin one of your own", "python -m agent run"),)
"""What to do after a recorded campaign, of which there is nothing on this machine."""
Json = dict[str, Any]
Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Feed:
    """What the page shows of a campaign, made at most every ``LOOK_SECONDS`` for all who look."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._lock = threading.Lock()
        self._looked = -math.inf
        self._view: View | None = None
        self._more: Json = {}
        self._rows: dict[int, str] = {}

    def look(self) -> tuple[Json, Json, dict[int, str]]:
        """The view of now, what else there is to say, and each row as JSON by its trial."""
        with self._lock:
            if self._view is None or time.monotonic() - self._looked >= LOOK_SECONDS:
                made = self._made()
                is_own = not self._watched.recorded
                self._view = made if is_own else replace(made, next=OF_RECORDED)
                self._looked = time.monotonic()
            return data.view_json(self._view), self._more, self._rows

    def _made(self) -> View:
        watched, state = self._watched, self._watched.state
        has_news = sum(1 for _ in watched.news()) > 0
        paused, now = is_paused(watched.folder), time.time()
        if self._view is not None and not has_news:
            return at_moment(self._view, state, watched.pid, paused, watched.live, now)
        prior = reading.next_shares_of(state) if state.program_text else {}
        made = view(
            state, watched.tag, prior, pid=watched.pid, paused=paused, live=watched.live, now=now
        )
        self._more = data.more(made, state, watched.folder)
        self._rows = {row["trial"]: json.dumps(row) for row in data.rows(made)}
        return made

    def page(self, has_controls: bool) -> str:
        seen, more, rows = self.look()
        told = {"view": seen, "more": more, "rows": [json.loads(row) for row in rows.values()]}
        live = {"live": True, "steers": has_controls, "recorded": self._watched.recorded}
        return build.page(self._watched.tag, told | live)

    def trial(self, number: str) -> Json | None:
        """The details of a trial; None if there is none, or it is not finished."""
        folder = self._watched.folder
        with self._lock:
            trials = {str(trial.trial): trial for trial in self._watched.state.finished}
        if (trial := trials.get(number)) is None:
            return None
        found = data.details_of(trial, folder)
        return found | {"prompts": data.prompts_of(trial.trial, folder), "older": None}


def make_app(
    watched: Watched,
    token: str,
    hosts: Callable[[], set[str]],
    answers: Mapping[str, Answer] | None = None,
    notes: Callable[[], Mapping[str, str]] | None = None,
    ends: Callable[[], bool] = lambda: False,
) -> Starlette:
    """The application.

    Args:
        hosts: returns the values of ``Host`` under which it is reached.
        answers: by name, what is done at a click; None for a campaign that is only looked at.
        notes: the notes of program.md.
        ends: whether the server is about to end, and waits for who listens to news.
    """
    feed = Feed(watched)

    def guarded(act: Callable[[Request], Awaitable[Response]]) -> Any:
        async def answer(request: Request) -> Response:
            refused = _refusal(request, token, hosts())
            try:
                response = refused or await act(request)
            except (UserError, OSError) as error:
                response = PlainTextResponse(one_line(error, 1000), 409)
            policy = f"{build.policy(True)}; frame-ancestors 'none'"
            response.headers.update(
                {
                    "Cache-Control": "no-store",
                    "Content-Security-Policy": policy,
                    "X-Frame-Options": "DENY",
                    "X-Content-Type-Options": "nosniff",
                    "Referrer-Policy": "no-referrer",
                    "Cross-Origin-Opener-Policy": "same-origin",
                    "Cross-Origin-Resource-Policy": "same-origin",
                }
            )
            return response

        return answer

    async def page(request: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(feed.page, answers is not None))

    async def trial(request: Request) -> Response:
        found = await run_in_threadpool(feed.trial, request.path_params["number"])
        if found is None:
            return PlainTextResponse("there is no such trial yet", 404)
        return JSONResponse(found)

    async def events(request: Request) -> Response:
        return StreamingResponse(_news(feed, ends), media_type="text/event-stream")

    async def read_notes(request: Request) -> Response:
        if notes is None:
            return PlainTextResponse("there is nothing to steer here", 404)
        return await _told(notes)

    async def act(request: Request) -> Response:
        name = request.path_params["name"]
        if answers is None or name not in answers:
            return PlainTextResponse("there is no such control", 404)
        sent = await _sent(request)
        if isinstance(sent, Response):
            return sent
        return await _told(lambda: answers[name](sent))

    async def nothing(request: Request) -> Response:
        return PlainTextResponse("not found", 404)

    return Starlette(
        routes=[
            Route("/{token}/", guarded(page), methods=["GET"]),
            Route("/{token}/events", guarded(events), methods=["GET"]),
            Route("/{token}/notes", guarded(read_notes), methods=["GET"]),
            Route("/{token}/trial/{number}", guarded(trial), methods=["GET"]),
            Route("/{token}/{name}", guarded(act), methods=["POST"]),
            Route("/{rest:path}", guarded(nothing), methods=["GET", "POST"]),
        ]
    )


def serve(
    watched: Watched,
    say: Callable[[str], None],
    answers: Mapping[str, Answer] | None = None,
    notes: Callable[[], Mapping[str, str]] | None = None,
) -> None:
    """Show a campaign on a free port of this machine until Ctrl-C; ``say`` gets the address."""
    token = secrets.token_urlsafe(24)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind((HOST, 0))
        listening.listen()  # before the address is told
        port = listening.getsockname()[1]
        hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        app = make_app(watched, token, lambda: hosts, answers, notes, lambda: server.should_exit)
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,  # which would hold the token
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=3,
        )
        server = uvicorn.Server(config)
        say(f"http://{HOST}:{port}/{token}/")
        server.run(sockets=[listening])


def _refusal(request: Request, token: str, hosts: set[str]) -> Response | None:
    """Why this request gets nothing; None if it may have what it asks for."""
    given = str(request.path_params.get("token", ""))
    if request.headers.get("host", "") not in hosts:
        return PlainTextResponse("this address is not known here", 421)
    if not secrets.compare_digest(given.encode(), token.encode()):
        return PlainTextResponse("not found", 404)
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    own = {f"http://{host}" for host in hosts}
    if (origin is None and request.method == "POST") or (origin is not None and origin not in own):
        return PlainTextResponse("only this page itself may ask this", 403)
    if site is not None and site not in ("same-origin", "none"):
        return PlainTextResponse("only this page itself may ask this", 403)
    return None


async def _sent(request: Request) -> Mapping[str, Any] | Response:
    """The JSON object that was sent, or why it is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":  # which a form of another site cannot send
        return PlainTextResponse("send JSON", 415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return PlainTextResponse("that is too long", 413)
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        sent = None
    if not isinstance(sent, dict):
        return PlainTextResponse("send a JSON object", 400)
    return sent


async def _told(act: Callable[[], Mapping[str, Any]]) -> Response:
    """What came of a click."""
    try:
        return JSONResponse(dict(await run_in_threadpool(act)))
    except (KeyError, TypeError) as error:
        return PlainTextResponse(f"something is missing: {one_line(error)}", 400)


async def _news(feed: Feed, ends: Callable[[], bool]) -> AsyncIterator[str]:
    """Each time that something is new: the view, and of the rest what changed."""
    known: dict[int, str] = {}
    told: Json = {}
    last, beat = "", time.monotonic()
    while not ends():
        try:
            seen, more, rows = await run_in_threadpool(feed.look)
        except (UserError, OSError) as error:  # as when the campaign was removed
            yield f"event: gone\ndata: {json.dumps(one_line(error, 1000))}\n\n"
            return
        text = json.dumps(seen)
        changed = [json.loads(row) for number, row in rows.items() if known.get(number) != row]
        if text != last or changed or told is not more:
            news = {"head": {"view": seen} | ({} if told is more else {"more": more})}
            last, told, known, beat = text, more, dict(rows), time.monotonic()
            yield f"event: news\ndata: {json.dumps(news | {'rows': changed})}\n\n"
        elif time.monotonic() - beat >= BEAT_SECONDS:
            beat = time.monotonic()
            yield ": nothing new\n\n"
        await asyncio.sleep(LOOK_SECONDS)
