"""What takes long streams, gives way and stops; a burst of requests and closed tabs leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import INSTALLED

import vizkit
from vizkit.explore.engine import Engine
from vizkit.explore.jobs import Jobs
from vizkit.explore.protocol import unpack
from vizkit.explore.worker import Worker
from vizkit.zoo import shapes

httpx = pytest.importorskip("httpx", reason="asks the server")
LAYER, UNIT = "features.9", 3
DREAM = {"kind": "dream", "layer": LAYER, "unit": UNIT, "size": 32}


@pytest.fixture(scope="module")
def client(explorer: Any) -> Any:
    parts = urlsplit(explorer.url)
    origin = {"Origin": f"{parts.scheme}://{parts.netloc}"}
    with httpx.Client(base_url=explorer.url, headers=origin, timeout=120) as made:
        yield made


def until(true: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether something comes true, looked at now and then."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def begun(client: Any, **body: Any) -> str:
    found = client.post("api/jobs", json=body)
    assert found.status_code == 200, found.text
    return str(found.json()["job"])


def told(client: Any, job: str) -> list[tuple[str, dict[str, Any]]]:
    """All messages of a job, to its end."""
    messages = []
    for block in client.get(f"api/jobs/{job}").text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            messages.append((lines["event"], json.loads(lines["data"])))
    return messages


def result(client: Any, job: str, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return unpack(client.get(f"api/jobs/{job}/{number}").content)


@pytest.mark.quick
@pytest.mark.parametrize("b", INSTALLED)
def test_explanations_are_those_of_the_api_with_scores_beside_the_controls(client: Any, b: str) -> None:
    """Of a class that is not the network's answer."""
    job = begun(client, kind="explain", picture="3", target=5, methods=["saliency", "gradcam"], b=b)
    messages = told(client, job)
    assert [kind for kind, _ in messages if kind != "step"] == ["result", "result", "end"]
    model, samples = vizkit.load("shapes", backend=b), shapes.sample(12, seed=7)
    for number, method in enumerate((vizkit.saliency, vizkit.gradcam)):
        true = method(model, samples.images[3], target=5, fit="squash")
        header, found = result(client, job, number)
        np.testing.assert_allclose(found["map"], true.values[0], rtol=1e-4, atol=1e-6)
        assert header["method"] == method.__name__
        assert header["provenance"]["settings"]["target"] == true.provenance["settings"]["target"]
        score = header["scores"]["relevance_mass"]
        assert score["value"] == pytest.approx(
            vizkit.evaluate.relevance_mass(true, samples.masks[3][None])[0], rel=1e-3
        )
        assert set(score["controls"]) == {"random_map", "edge_map", "centre_map"}


def test_a_method_that_fails_says_why_and_the_others_go_on(client: Any) -> None:
    job = begun(client, kind="explain", picture="0", methods=["attention_rollout", "saliency"])
    kinds = {kind: data for kind, data in told(client, job) if kind != "step"}
    assert kinds["error"]["method"] == "attention_rollout"
    assert kinds["result"]["method"] == "saliency"


@pytest.mark.parametrize("b", INSTALLED)
def test_a_dream_grows_and_ends_as_the_apis(client: Any, b: str) -> None:
    job = begun(client, **DREAM, steps=8, seed=5, b=b)
    results = [data for kind, data in told(client, job) if kind == "result"]
    assert [one["step"] for one in results] == list(range(1, 9))
    header, found = result(client, job, 7)  # at once: it is kept for a while
    model = vizkit.load("shapes", backend=b)
    shape = vizkit.parametrisations.Fourier(32)
    true = vizkit.render(model, vizkit.objectives.unit(LAYER, UNIT), parametrisation=shape, steps=8, seed=5)
    picture = vizkit.images.picture(true.values)[0]
    assert np.abs(found["picture"].astype(int) - picture).max() <= 1
    seen = vizkit.feature_maps(model, found["picture"].copy(), LAYER, fit="squash").values[0, UNIT]
    assert header["activation"] == pytest.approx(float(seen.mean()), rel=1e-4)


def test_patches_are_those_of_the_api(client: Any) -> None:
    job = begun(client, kind="patches", layer=LAYER, unit=UNIT, k=4)
    assert told(client, job)[-1][0] == "end"
    header, found = result(client, job, 0)
    true = vizkit.top_patches(vizkit.load("shapes"), shapes.sample(12, seed=7).images, LAYER, UNIT, k=4, fit="squash")
    np.testing.assert_array_equal(found["patches"], np.stack(true.patches(0)))
    assert header["activations"] == pytest.approx(true.values[0].tolist(), rel=1e-4)
    assert header["names"] == [f"{shapes.CLASSES[shapes.sample(12, seed=7).labels[i]]} {i + 1}" for i in true.places[0]]


def test_clicks_come_between_the_steps_of_a_job(client: Any, explorer: Any) -> None:
    job = begun(client, **DREAM, steps=1024)
    running = explorer._jobs[job]
    assert until(lambda: bool(running.events))
    assert client.get(f"api/maps?picture=1&layer={LAYER}").status_code == 200
    assert not running.finished
    assert client.delete(f"api/jobs/{job}").status_code == 200
    assert until(lambda: running.finished)
    assert client.get(f"api/jobs/{job}").status_code == 404
    assert client.get(f"api/jobs/{job}/0").status_code == 404


def test_a_closed_stream_stops_its_job(client: Any, explorer: Any) -> None:
    job = begun(client, **DREAM, steps=1024)
    running = explorer._jobs[job]
    with client.stream("GET", f"api/jobs/{job}") as stream:
        next(stream.iter_lines())
    assert until(lambda: running.finished)
    assert not running.results
    assert job not in explorer._jobs


def test_a_job_that_nobody_listens_to_is_forgotten(client: Any, explorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vizkit.explore import application

    heard = begun(client, **DREAM, steps=2)  # which may wait as long as ever, and is kept a moment
    monkeypatch.setattr(application, "KEPT", 0.2)
    told(client, heard)
    assert until(lambda: heard not in explorer._jobs)
    unheard = explorer._jobs[begun(client, **DREAM, steps=1024)]
    assert until(lambda: unheard.finished)


def test_jobs_are_few_and_what_they_keep_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from vizkit.explore import jobs as module
    from vizkit.explore.worker import BusyError

    worker = Worker()
    jobs = Jobs(Engine([vizkit.load("shapes")]), worker)
    monkeypatch.setattr(module, "MOST_JOBS", 2)
    monkeypatch.setattr(module, "MOST_BYTES", 8000)
    first = jobs.start({**DREAM, "steps": 4})
    assert until(lambda: first.finished)
    assert list(first.results) == [2, 3], "the newest pictures that fit"
    running = [jobs.start({**DREAM, "steps": 1024}) for _ in range(2)]
    assert len(jobs) == 2, "what is finished makes room"
    with pytest.raises(BusyError, match="jobs run or wait"):
        jobs.start({**DREAM, "steps": 4})
    jobs.close()
    assert worker.close()
    assert all(one.future.done() for one in running)
    assert len(jobs) == 0


def in_own_thread(work: Coroutine[Any, Any, Any]) -> Any:
    """What the work gives. A browser that other tests drive has its event loop in theirs, and there can be one only."""
    with ThreadPoolExecutor(1) as own:
        return own.submit(asyncio.run, work).result()


def test_a_burst_leaves_nothing_behind(client: Any, explorer: Any) -> None:
    client.get("api/predictions?picture=0")
    threads, jobs = threading.active_count(), len(explorer._jobs)
    parts = urlsplit(explorer.url)

    async def one(path: str) -> int:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET {parts.path}{path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return int(answer.split(b" ", 2)[1])

    async def burst() -> list[int]:
        asked = (f"api/maps?picture={k % 3}&layer={LAYER}&from={k % 30}" for k in range(150))
        return await asyncio.gather(*map(one, asked))

    assert in_own_thread(burst()) == [200] * 150
    assert until(lambda: explorer._worker.waiting == 0)
    assert threading.active_count() <= threads
    assert len(explorer._jobs) <= jobs
    assert until(lambda: not explorer._server.server_state.connections)
    assert until(lambda: not explorer._server.server_state.tasks)


def test_requests_of_a_client_that_has_gone_are_not_computed(client: Any, explorer: Any) -> None:
    go, begun_ = threading.Event(), threading.Event()
    explorer._worker.submit(lambda: (begun_.set(), go.wait(30)))
    assert begun_.wait(30)

    async def ask_and_leave() -> None:
        async with httpx.AsyncClient(base_url=explorer.url, timeout=1) as made:
            asked = (made.get(f"api/map?picture=5&layer={LAYER}&unit={k}") for k in range(20))
            await asyncio.gather(*asked, return_exceptions=True)

    in_own_thread(ask_and_leave())
    waiting = [entry[2] for entry in list(explorer._worker._waiting.queue)]
    assert until(lambda: all(one.cancelled() for one in waiting))
    assert len(waiting) == 20
    go.set()
    assert client.get("api/labels?q=star").json()[0]["label"] == "star"


def test_at_the_end_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    with vizkit.explore(vizkit.load("shapes"), browser=False) as running:
        parts = urlsplit(running.url)
        origin = {"Origin": f"{parts.scheme}://{parts.netloc}"}
        job = httpx.post(f"{running.url}api/jobs", json={**DREAM, "steps": 1024}, headers=origin, timeout=60).json()
        assert job["job"]
        assert {one.name for one in set(threading.enumerate()) - before} >= {"vizkit-explore", "vizkit-explore-server"}
    left = [one for one in set(threading.enumerate()) - before if one.name.startswith("vizkit")]
    assert left == []
    with pytest.raises(httpx.TransportError):
        httpx.get(running.url)
