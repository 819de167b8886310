"""A service that watches where its can comes from takes the next one without dropping a request."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from pathlib import Path

import httpx
from churn_cans import RECORD, RECORDS, MakeCan, expected, make_graph, running, until

from cannery.cans.open import Can
from cannery.errors import SourceError
from cannery.serving.http import Application
from cannery.serving.origins import Origin
from cannery.serving.settings import Settings
from cannery.serving.watches import Watch
from cannery.signatures import Canary


def point(link: Path, can: Can) -> None:
    """Let a link name a can, in one step."""
    fresh = link.with_suffix(".new")
    fresh.symlink_to(can.folder)
    fresh.rename(link)


def halved(record: dict[str, object]) -> dict[str, object]:
    """Return what the second version answers: half the probability."""
    answer = expected(record)
    return {**answer, "churn_probability": answer["churn_probability"] / 2}


def test_a_moved_name_is_swapped_in_without_dropping_a_request(
    make_can: MakeCan, tmp_path: Path
) -> None:
    """Callers on both ways see the old answer, then the new one, and never an error; headers tell which."""
    first = make_can("first.can")
    canary = Canary(records=RECORDS, outputs=tuple(map(halved, RECORDS)))
    second = make_can("second.can", graph=make_graph(factor=0.5), canary=canary, version="4")
    broken = make_can("broken.can", graph=make_graph(factor=0.25), version="5")
    link = tmp_path / "current.can"
    point(link, first)
    seen: list[tuple[str, float]] = []
    failures: list[object] = []
    leaving = threading.Event()

    def ask(url: str, path: str) -> None:
        with httpx.Client(timeout=10) as client:
            while not leaving.is_set():
                response = client.post(url + path, json=RECORD)
                if response.status_code != 200:
                    failures.append(response.text)
                    continue
                answer = response.json()
                version = response.headers["x-model-version"]
                seen.append((version, round(answer["churn_probability"], 6)))

    with running(first.folder, MODEL_URI=str(link), WATCH="1") as service:
        paths = ("/predict", "/predict?outputs=churn_probability")
        callers = [threading.Thread(target=ask, args=(service.url, path)) for path in paths]
        for caller in callers:
            caller.start()
        until(lambda: len(seen) > 20)
        point(link, second)
        until(lambda: seen[-1][0] == "4")
        assert httpx.get(service.url + "/version").json()["version"] == "4"
        assert httpx.get(service.url + "/v2/models/churn/versions/4").status_code == 200
        assert 'version="4"' in httpx.get(service.url + "/metrics").text
        assert httpx.get(service.url + "/health").status_code == 200
        point(link, broken)
        refused = 'cannery_candidates_total{result="refused"} 1'
        until(lambda: refused in httpx.get(service.url + "/metrics").text)
        time.sleep(1.5)
        assert refused in httpx.get(service.url + "/metrics").text
        assert httpx.get(service.url + "/version").json()["version"] == "4"
        leaving.set()
        for caller in callers:
            caller.join()
        service.process.send_signal(signal.SIGTERM)
        status, log = service.end()
    assert status == 0
    assert failures == []
    whole, half = (round(f(RECORD)["churn_probability"], 6) for f in (expected, halved))
    assert set(seen) == {("3", whole), ("4", half)}
    assert "serving churn 4" in log
    assert "the next can is not taken: 'churn' 5 is not healthy" in log


def test_a_look_that_lasts_does_not_hold_the_end(app: Application) -> None:
    """A registry that says nothing is not waited for when the service is told to end."""
    asked, leaving = threading.Event(), threading.Event()

    def find() -> Can:
        asked.set()
        leaving.wait(60)
        raise SourceError("nobody answers")

    async def serve() -> None:
        watch = Watch(app, Settings(watch=1), Origin(find=find), lambda _: None)
        watch.tick()
        await asyncio.sleep(0)
        assert asked.wait(10)

    began = time.monotonic()
    asyncio.run(serve())
    assert time.monotonic() - began < 5
    leaving.set()
