"""Slow models: what waits is scored together, within limits of number and time."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import httpx
import pytest
from churn_cans import RECORD, RECORDS, Caller, MakeCan, expected, make_graph

from cannery.errors import ProofError
from cannery.serving.http import Application
from cannery.serving.messages import Request
from cannery.serving.metrics import Metrics
from cannery.serving.operations import Operation
from cannery.serving.patience import Patience
from cannery.serving.routes import Desk, routes_of
from cannery.serving.scorer import open_scorer
from cannery.serving.scoring import ROUND, TURNS, Scoring, turn_of
from cannery.serving.server import SELDOM, look
from cannery.serving.service import Service, open_service


class Slow:
    """The scorer of a can that takes its time and counts its calls; `fails` on batches with such a tenure."""

    def __init__(self, service: Service, seconds: float, fails: float | None = None) -> None:
        self._scorer = service._scorer
        self._seconds = seconds
        self._fails = fails
        self.calls: list[int] = []
        self.threads: set[str] = set()

    def score(self, batch: Any) -> Any:
        """Sleep, then answer."""
        self.calls.append(len(batch))
        self.threads.add(threading.current_thread().name)
        time.sleep(self._seconds)
        if self._fails is not None and self._fails in batch.numbers[:, 0]:
            raise ProofError("the estimator failed")
        return self._scorer.score(batch)


def slow_app(make_can: MakeCan, slow: float = 0.05, **limits: Any) -> tuple[Application, Slow]:
    """Return an application whose model is slow."""
    healthy = open_service(make_can().folder)
    scorer = Slow(healthy, slow, limits.pop("fails", None))
    service = Service(healthy.manifest, healthy.digest, healthy.canary, scorer)
    metrics = Metrics({}, 0.0)
    desk = Desk(service, metrics)
    scoring = Scoring(service, metrics, Patience(), turn=0, **limits)
    return Application(desk, routes_of(desk, {}), scoring, max_body=1 << 20), scorer


def ask_together(
    app: Application, *records: Any, path: str = "/predict", gap: float = 0.0
) -> list[httpx.Response]:
    """Send all at once, or each a `gap` after the last, and return the responses in order."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:

            async def ask(index: int, record: Any) -> httpx.Response:
                await asyncio.sleep(index * gap)
                return await client.post(path, json=record)

            return await asyncio.gather(*(ask(i, record) for i, record in enumerate(records)))

    return asyncio.run(send())


def test_a_model_is_slow_when_its_canary_says_so(make_can: MakeCan) -> None:
    """A graph of a few operators is quick, the same with a pause is not."""
    assert turn_of(open_service(make_can().folder)) == TURNS[-1]
    app, _ = slow_app(make_can, 0.002)
    assert turn_of(app.desk.service) == 0


def test_a_model_scores_as_many_rows_within_the_loop_as_it_has_time_for(make_can: MakeCan) -> None:
    """By a clock that takes its time: 100 µs of a row leave room for sixteen, 2 ms for none."""
    service = open_service(make_can().folder)

    class Timed:
        now = 0.0

        def __init__(self, row: float) -> None:
            self.row = row

        def score(self, batch: Any) -> Any:
            self.now += self.row * len(batch)
            return service._scorer.score(batch)

    for row, turn in ((1e-6, 1024), (1e-5, 256), (1e-4, 16), (9e-4, 1), (2e-3, 0)):
        timed = Timed(row)
        slower = Service(service.manifest, service.digest, service.canary, timed)
        assert turn_of(slower, lambda timed=timed: timed.now) == turn


def long_requests(make_can: MakeCan, count: int, **limits: Any) -> list[tuple[int, int]]:
    """Ask a quick model long requests at once; return in which turn of the loop each had which status."""
    service = open_service(make_can().folder)
    scorer = Slow(service, 0)
    quick = Service(service.manifest, service.digest, service.canary, scorer)
    metrics = Metrics({}, 0.0)
    scoring = Scoring(quick, metrics, Patience(), turn=1024, **limits)
    operation = routes_of(Desk(quick, metrics), {})["/predict"]["POST"]
    assert isinstance(operation, Operation)
    body = json.dumps([RECORD] * 1000).encode()
    asked = Request(content_type="", charset="", body=body)

    ended: list[tuple[int, int]] = []
    turns = iter(range(10_000))

    async def ask() -> None:
        response = await scoring.respond(operation, asked)
        ended.append((turn, response.status))

    async def all_of_them() -> None:
        nonlocal turn
        asking = [asyncio.create_task(ask()) for _ in range(count)]
        while not all(task.done() for task in asking):
            turn = next(turns)
            await asyncio.sleep(0)

    turn = 0
    asyncio.run(all_of_them())
    assert scorer.threads == {"MainThread"}
    return ended


def test_of_long_requests_a_quick_model_answers_one_in_a_turn(make_can: MakeCan) -> None:
    """No thread is asked, and whoever else came is heard between two."""
    ended = long_requests(make_can, 5)
    assert [status for _, status in ended] == [200] * 5
    assert len({turn for turn, _ in ended}) == 5


def test_long_requests_too_wait_within_limits(make_can: MakeCan) -> None:
    """Three in line, and two too many."""
    statuses = [status for _, status in long_requests(make_can, 5, waiting=3)]
    assert sorted(statuses) == [200, 200, 200, 503, 503]


def test_what_waits_is_scored_together(make_can: MakeCan) -> None:
    """Thirty requests at once: far fewer calls, in one thread."""
    app, scorer = slow_app(make_can)
    records = [{**RECORD, "tenure": tenure} for tenure in range(30)]
    answers = ask_together(app, *records)
    assert [a.json() for a in answers] == [pytest.approx(expected(r)) for r in records]
    assert len(scorer.calls) < 15
    assert sum(scorer.calls) == 30
    assert scorer.threads == {"score_0"}


def test_every_protocol_waits_in_the_same_line(make_can: MakeCan) -> None:
    """A list and MLflow's forms are scored with the others."""
    app, scorer = slow_app(make_can)
    answers = ask_together(app, {"instances": list(RECORDS)}, path="/invocations")
    assert answers[0].json() == {"predictions": [pytest.approx(expected(r)) for r in RECORDS]}
    assert scorer.calls == [2]


def test_one_more_than_may_wait_is_told_to_come_again(make_can: MakeCan) -> None:
    """503 with Retry-After; the others are answered."""
    app, _ = slow_app(make_can, waiting=2)
    answers = ask_together(app, *[RECORD] * 6)
    assert sorted({a.status_code for a in answers}) == [200, 503]
    (refused, *_) = [a for a in answers if a.status_code == 503]
    assert refused.headers["retry-after"] == "1"
    assert "wait already" in refused.json()["error"]["message"]


def test_who_waits_too_long_is_told(make_can: MakeCan) -> None:
    """504 after the deadline; the model is not asked for what nobody waits for."""
    app, scorer = slow_app(make_can, 0.3, deadline=0.1)
    answers = ask_together(app, *[RECORD] * 4, gap=0.02)
    assert {a.status_code for a in answers} == {504}
    assert sum(scorer.calls) == 1


def test_a_model_that_does_not_come_back_is_not_healthy(make_can: MakeCan) -> None:
    """Health and readiness say so at once, though no thread is free to try the canary; later all is well again."""
    app, scorer = slow_app(make_can, 0, deadline=0.1)
    free = threading.Event()
    whole = scorer.score
    scorer.score = lambda batch: free.wait(20) and whole(batch)  # type: ignore[method-assign]

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            late = await client.post("/predict", json=RECORD)
            await asyncio.sleep(0.1)
            during = [await client.get(path) for path in ("/health", "/readyz", "/livez")]
            metrics = await client.get("/metrics")
            free.set()
            while app.scoring.hindrance:
                await asyncio.sleep(0.001)
            return [late, *during, metrics, await client.get("/health")]

    late, health, ready, live, metrics, after = asyncio.run(send())
    assert late.status_code == 504
    assert (health.status_code, ready.status_code, live.status_code) == (503, 503, 200)
    assert "has not come back" in health.json()["reason"]
    assert "cannery_canary_ok 0" in metrics.text
    assert after.status_code == 200


def test_a_canary_that_fails_in_any_way_is_said_to(make_can: MakeCan) -> None:
    """Also where the model's library raises what nobody expected: 503 and a metric, not a 500."""
    app, scorer = slow_app(make_can, 0)

    def score(batch: Any) -> Any:
        raise MemoryError

    scorer.score = score  # type: ignore[method-assign]
    call = Caller(app)
    assert call("GET", "/health").json()["reason"] == "the canary failed: MemoryError"
    assert "cannery_canary_ok 0" in call("GET", "/metrics").text


@pytest.mark.parametrize("turn", [0, 1024])
def test_metrics_tell_of_a_canary_that_nobody_asked_for(make_can: MakeCan, turn: int) -> None:
    """A model that answers otherwise from one second to the next, quick or slow: seen without any probe."""
    app, scorer = slow_app(make_can, 0)
    app.scoring.quick = turn > 0
    look(app, SELDOM)
    other = open_scorer(make_can("other.can", graph=make_graph(factor=0.9)))
    scorer.score = other.score  # type: ignore[method-assign]
    app.desk._health = None
    look(app, SELDOM)
    app.scoring._reading.shutdown()
    assert "cannery_canary_ok 0" in Caller(app)("GET", "/metrics").text


def test_one_bad_record_fails_alone(make_can: MakeCan) -> None:
    """Where a round fails, each of its requests is tried by itself."""
    app, _ = slow_app(make_can, 0.01, fails=13.0)
    records = [{**RECORD, "tenure": tenure} for tenure in (2, 3, 13, 4)]
    assert [a.status_code for a in ask_together(app, *records)] == [200, 200, 500, 200]


def test_a_long_request_takes_turns_with_short_ones(make_can: MakeCan) -> None:
    """Its rows are scored round by round, others come between, and every answer is whole."""
    app, scorer = slow_app(make_can, 0.02)
    long = [{**RECORD, "tenure": n % 60} for n in range(3 * ROUND)]
    app.budget.limit = 8 << 20
    app.budget.left = 32 << 20
    order: list[str] = []

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:

            async def ask(name: str, record: Any, wait: float) -> httpx.Response:
                await asyncio.sleep(wait)
                response = await client.post("/predict", content=json.dumps(record))
                order.append(name)
                return response

            asking = asyncio.create_task(ask("long", long, 0))
            while not scorer.calls:
                await asyncio.sleep(0.001)
            return [await ask("short", RECORD, 0), await asking]

    short, answer = asyncio.run(send())
    assert order == ["short", "long"]
    assert max(scorer.calls) <= ROUND
    assert short.json() == pytest.approx(expected(RECORD))
    assert [a["churn_probability"] for a in answer.json()] == pytest.approx(
        [expected(r)["churn_probability"] for r in long]
    )


def test_bodies_share_one_budget_of_memory(make_can: MakeCan) -> None:
    """What is over it is told to come again, and what was held is given back."""
    app, _ = slow_app(make_can, 0.1)
    app.budget.left = 250
    answers = ask_together(app, *[RECORD] * 6)
    statuses = [a.status_code for a in answers]
    assert set(statuses) == {200, 503}
    assert app.budget.left == 250
    assert ask_together(app, RECORD)[0].status_code == 200


def test_health_of_a_slow_model_leaves_the_loop_free(make_can: MakeCan) -> None:
    """While the canary is scored, liveness answers."""
    app, _ = slow_app(make_can, 0.3)
    order: list[str] = []

    async def send() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:

            async def ask(path: str) -> None:
                assert (await client.get(path)).status_code == 200
                order.append(path)

            await asyncio.gather(ask("/health"), ask("/livez"))

    asyncio.run(send())
    assert order == ["/livez", "/health"]
