"""The explorer as an ASGI application: addresses, errors, uploads and streams. Whatever computes runs in the worker's
thread; a request whose client has gone is dropped before it begins."""

from __future__ import annotations

import asyncio
import json
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from ..contract.errors import SettingError, UnknownNameError, VizkitError
from . import units, views
from .engine import Engine
from .jobs import Job, Jobs
from .protocol import View, json_of
from .sums import sum_at
from .worker import AHEAD, BusyError, Worker

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

Made = TypeVar("Made")
MOST_UPLOAD = 16 << 20
"""Bytes of a picture that is brought."""
MOST_BODY = 1 << 16
"""Bytes of any other request."""
BEAT = 10.0
"""Seconds after which a stream shows that it lives, so that a lost connection is found."""
KEPT = 15.0
"""Seconds for which a job's results can be fetched after its stream, or that a job may wait for its stream."""
STATIC = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
Handler = Callable[["Request"], Awaitable["Response"]]


class Gone(Exception):
    """The client does not wait for the answer any more."""


def application(engine: Engine, worker: Worker, jobs: Jobs) -> Starlette:
    """The application, to be put behind a :class:`vizkit.explore.guard.Guard`."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    waits: dict[str, asyncio.TimerHandle] = {}

    async def computed(request: Request, work: Callable[[], Made], urgency: int = 0) -> Made:
        """What the worker makes of it. Raises Gone where nobody waits any more."""
        future = worker.submit(work, urgency)
        waiting = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(_gone(request))
        try:
            either: set[asyncio.Future[Any]] = {waiting, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if waiting.cancelled():
                raise BusyError("The explorer is about to stop.")
            if waiting.done():
                return waiting.result()
            raise Gone
        finally:
            future.cancel()
            gone.cancel()

    def asked(make: Callable[[View], Any], kind: str = "json") -> Handler:
        """A handler of a question about a view."""

        async def handler(request: Request) -> Response:
            view = View(dict(request.query_params))
            made = await computed(request, lambda: make(view))
            if kind == "json":
                return JSONResponse(made)
            return Response(made, media_type="image/png" if kind == "png" else "application/octet-stream")

        return handler

    async def predictions(request: Request) -> Response:
        """They are what is seen first; then the pass that all other views of the picture need is made ahead."""
        view = View(dict(request.query_params))
        made = await computed(request, lambda: engine.predictions(view))
        with suppress(BusyError):
            worker.submit(lambda: engine.ahead(view), AHEAD)
        return JSONResponse(made)

    async def bring(request: Request) -> Response:
        data = await _body(request, MOST_UPLOAD)
        name = unquote(request.headers.get("x-name", "picture"))
        made = await computed(request, lambda: engine.gallery.bring(data, name))
        return JSONResponse({"id": made.id, "name": made.name, "mask": False})

    async def begin(request: Request) -> Response:
        body = json_of(await _body(request, MOST_BODY), "The job")
        job = await computed(request, lambda: jobs.start(body))
        job_waits(job, asyncio.get_running_loop())
        return JSONResponse({"job": job.id})

    def job_waits(job: Job, loop: asyncio.AbstractEventLoop) -> None:
        """Forget a job whose stream nobody opens, or opens again, for a while."""

        def forget() -> None:
            waits.pop(job.id, None)
            jobs.stop(job.id)

        waits[job.id] = loop.call_later(KEPT, forget)

    async def stream(request: Request) -> Response:
        from starlette.responses import StreamingResponse

        job = jobs[request.path_params["job"]]
        if job.id in waits:
            waits.pop(job.id).cancel()
        start = request.headers.get("last-event-id", "")
        begun = int(start) + 1 if start.isascii() and start.isdigit() and len(start) < 8 else 0
        return StreamingResponse(told(job, begun), media_type="text/event-stream")

    async def told(job: Job, at: int) -> AsyncIterator[str]:
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def heard() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(news.set)

        job.heard = heard
        complete = False
        try:
            while True:
                news.clear()
                while at < len(job.events):
                    kind, data = job.events[at]
                    complete = kind == "end"
                    yield f"id: {at}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
                    at += 1
                if complete or job.stopping.is_set():
                    return
                try:
                    await asyncio.wait_for(news.wait(), BEAT)
                except asyncio.TimeoutError:
                    yield ": still there\n\n"
        finally:
            if complete:
                job_waits(job, loop)
            else:
                jobs.stop(job.id)

    async def result(request: Request) -> Response:
        found = jobs[request.path_params["job"]].results.get(request.path_params["number"])
        if found is None:
            raise UnknownNameError("There is no such result, or newer ones have taken its place.")
        return Response(found, media_type="application/octet-stream")

    async def stop(request: Request) -> Response:
        jobs.stop(request.path_params["job"])
        return JSONResponse({})

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        # What is not among the page's files is never opened.
        known = {one.name: one for one in (files("vizkit.explore") / "static").iterdir() if one.is_file()}
        if name not in known:
            return JSONResponse({"error": "There is no such file."}, 404)
        kind = STATIC.get("." + name.rpartition(".")[2]) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(known[name].read_bytes(), media_type=kind)

    async def refused(request: Request, error: Exception) -> Response:
        # What is too large is not read to its end.
        head = {"connection": "close"} if isinstance(error, TooLargeError) else None
        status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 400)
        return JSONResponse({"error": str(error)}, status, head)

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=499)

    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"A fault of the explorer's: {type(error).__name__}."}, 500)

    routes = [
        Route("/", page),
        Route("/static/{name}", page),
        Route("/api/session", asked(lambda _: engine.session)),
        Route("/api/pictures", asked(engine.pictures), methods=["GET"]),
        Route("/api/pictures", bring, methods=["POST"]),
        Route("/api/picture", asked(engine.png, "png")),
        Route("/api/predictions", predictions),
        Route("/api/labels", asked(engine.labels)),
        Route("/api/maps", asked(engine.maps, "frame")),
        Route("/api/map", asked(engine.map, "frame")),
        Route("/api/unit", asked(lambda view: units.unit(engine, view))),
        Route("/api/weights", asked(lambda view: units.weights(engine, view), "frame")),
        Route("/api/effective", asked(lambda view: units.effective(engine, view), "frame")),
        Route("/api/sum", asked(lambda view: sum_at(engine, view), "frame")),
        Route("/api/save", asked(lambda view: views.save(engine, View.of(view.text("view"))), "png")),
        Route("/api/line", asked(lambda view: {"line": views.line(engine, View.of(view.text("view")))})),
        Route("/api/jobs", begin, methods=["POST"]),
        Route("/api/jobs/{job}", stream, methods=["GET"]),
        Route("/api/jobs/{job}", stop, methods=["DELETE"]),
        Route("/api/jobs/{job}/{number:int}", result),
    ]
    return Starlette(routes=routes, exception_handlers={VizkitError: refused, Gone: gone, Exception: failed})


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request, most: int) -> bytes:
    """Raises SettingError as soon as there is too much of it."""
    said = request.headers.get("content-length", "0")
    parts, size = [], 0
    if said.isascii() and said.isdigit() and int(said) > most:
        raise TooLargeError(f"{int(said)} bytes are more than the {most} that are taken. Make it smaller.")
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLargeError(f"That is more than the {most} bytes that are taken. Make it smaller.")
        parts.append(part)
    return b"".join(parts)


class TooLargeError(SettingError):
    """More bytes than are taken."""


STATUS: dict[type[Exception], int] = {TooLargeError: 413, BusyError: 503, UnknownNameError: 404}
"""Of an answer by what was raised; of all else it is 400."""
