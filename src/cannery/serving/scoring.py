"""Put questions to the model: at once where it is quick, else in a thread, with what else waits there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from cannery.errors import ProofError, SchemaError
from cannery.serving.choices import Answer
from cannery.serving.messages import Request, Response
from cannery.serving.metrics import Metrics
from cannery.serving.operations import Operation, Question
from cannery.serving.patience import Patience
from cannery.serving.service import Service
from cannery.signatures import Batch, concatenate

ASIDE = 32 << 10
"""Bytes; a longer body is read in a thread, so that health answers meanwhile."""
PLAIN = 256 << 10
"""Bytes of the longest plain body that is read within the loop all the same, if the model is quick."""
TURNS = (1, 16, 256, 1024)
"""Rows that may be scored within one turn of the loop: the most that take no longer than `PAUSE`."""
PAUSE = 0.004
"""Seconds for which the loop may be held; Python lets any thread hold it for five milliseconds."""
ROUND = 4096
"""Rows that are scored in one call in the thread; longer requests take turns with what waits."""
QUICK = 0.001
"""Seconds; a model that takes longer for one record is never asked within the loop."""

_T = TypeVar("_T")


class _Full(Exception):  # noqa: N818 - a message between two functions, never seen outside
    """As many requests wait as may."""


class _Job:
    """Rows that wait to be scored."""

    __slots__ = ("answered", "batch", "parts", "start")

    def __init__(self, batch: Batch, answered: asyncio.Future[Answer]) -> None:
        self.batch = batch
        self.answered = answered
        self.start = 0
        self.parts: list[Answer] = []

    def take(self, rows: int) -> Batch:
        """Return the next rows, at most so many."""
        batch = self.batch.take(slice(self.start, self.start + rows))
        self.start += len(batch)
        return batch

    @property
    def left(self) -> bool:
        """Whether rows are left to be taken."""
        return self.start < len(self.batch)

    def give(self, part: Answer) -> None:
        """Take the answer to the rows that were taken last."""
        self.parts.append(part)
        if not self.left and not self.answered.done():
            names = self.parts[0]
            self.answered.set_result(
                {name: np.concatenate([p[name] for p in self.parts]) for name in names}
            )

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        if not self.answered.done():
            self.answered.set_exception(error)


class Scoring:
    """The one place from which a running service asks its model."""

    def __init__(
        self,
        service: Service,
        metrics: Metrics,
        patience: Patience,
        *,
        turn: int,
        waiting: int = 512,
        deadline: float = 30.0,
    ) -> None:
        """Take how many rows are scored within the loop, how many requests may wait, and for how many seconds."""
        self.service = service
        self.quick = turn > 0
        self._turn = turn
        self._metrics = metrics
        self._patience = patience
        self._waiting = waiting
        self._deadline = deadline
        self._jobs: deque[_Job] = deque()
        self._line: deque[asyncio.Future[None]] = deque()
        self._rounds: asyncio.Task[None] | None = None
        self._since: float | None = None
        self._reading = ThreadPoolExecutor(max_workers=2, thread_name_prefix="read")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score")

    def close(self) -> None:
        """Wait for no thread any more: what has not been answered by now never will be."""
        for pool in (self._reading, self._thread):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def hindrance(self) -> str | None:
        """What keeps the model from answering anybody: the thread in which it is asked came not back in time."""
        since = self._since
        seconds = 0.0 if since is None else time.monotonic() - since
        return (
            f"the model has not come back for {seconds:.0f} s" if seconds > self._deadline else None
        )

    async def respond(self, operation: Operation, request: Request) -> Response:
        """Answer one request, or refuse it in its protocol's form."""
        try:
            if len(request.body) > ASIDE:
                return await self._long(operation, request)
            question = operation.read(request)
            return self._written(question, await self._asked(question.batch))
        except (SchemaError, ProofError) as error:
            return self._refused(operation, error)
        except _Full:
            message = f"{self._waiting} requests wait already"
            return operation.fail(503, message, headers=(("retry-after", "1"),))
        except TimeoutError:
            if self._patience.ended:
                return operation.fail(503, "the service ends before the model had time for this")
            return operation.fail(
                504, f"the model had no time for this within {self._deadline:g} s"
            )

    def respond_now(self, operation: Operation, request: Request) -> Response:
        """Answer one small request within the turn, as `respond` does."""
        try:
            question = operation.read(request)
            return self._written(question, self.score(question.batch))
        except (SchemaError, ProofError) as error:
            return self._refused(operation, error)

    def score(self, batch: Batch) -> Answer:
        """Return the model's answer now."""
        answer = self.service.answer(batch)
        self._metrics.scored(len(batch), answer)
        return answer

    def begin(self, act: Callable[[], object]) -> None:
        """Act in a thread that nobody waits for."""
        self._reading.submit(act)

    async def aside(self, act: Callable[..., _T], *arguments: Any) -> _T:
        """Act in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, act, *arguments)

    def _refused(self, operation: Operation, error: SchemaError | ProofError) -> Response:
        if isinstance(error, ProofError):
            return operation.fail(500, error.message)
        self._metrics.refused(error)
        return operation.refuse(error)

    def _written(self, question: Question, answer: Answer) -> Response:
        """Return the response to a question."""
        return question.write(question.choice.apply(answer, self.service.manifest.signature))

    async def _long(self, operation: Operation, request: Request) -> Response:
        """Answer a long request: within the loop where it is plain and the model quick, else by threads."""
        question = None
        if self.quick and operation.glance is not None and len(request.body) <= PLAIN:
            await self._lined()
            question = operation.glance(request)
            if question is not None and len(question.batch) <= self._turn:
                return self._written(question, self.score(question.batch))
        if question is None:
            question = await self.aside(operation.read, request)
        answer = await self._asked(question.batch)
        return await self.aside(self._written, question, answer)

    async def _lined(self) -> None:
        """Wait in line: of long requests each turn of the loop answers one, so that others are heard between."""
        if len(self._line) >= self._waiting:
            raise _Full
        loop = asyncio.get_running_loop()
        called = loop.create_future()
        self._line.append(called)
        if len(self._line) == 1:
            loop.call_soon(self._call)
        async with self._patience.within(self._deadline):
            await called

    def _call(self) -> None:
        """Call who is next in line; who went away is not."""
        while self._line:
            called = self._line.popleft()
            if not called.done():
                called.set_result(None)
                break
        if self._line:
            asyncio.get_running_loop().call_soon(self._call)

    async def _asked(self, batch: Batch) -> Answer:
        """Return the model's answer, now or when its turn has come."""
        if len(batch) <= self._turn:
            return self.score(batch)
        return await self._queued(batch)

    async def _scored(self, batch: Batch) -> Answer:
        """Return the model's answer from its thread."""
        loop = asyncio.get_running_loop()
        self._since = time.monotonic()
        try:
            answer = await loop.run_in_executor(self._thread, self.service.answer, batch)
        finally:
            self._since = None
        self._metrics.scored(len(batch), answer)
        return answer

    async def _queued(self, batch: Batch) -> Answer:
        """Return the answer once its turn has come; raises _Full, or TimeoutError."""
        if not len(batch):
            return self.service.answer(batch)
        if len(self._jobs) >= self._waiting:
            raise _Full
        loop = asyncio.get_running_loop()
        job = _Job(batch, loop.create_future())
        self._jobs.append(job)
        if self._rounds is None or self._rounds.done():
            self._rounds = loop.create_task(self._work())
        async with self._patience.within(self._deadline):
            return await job.answered

    async def _work(self) -> None:
        """Score round after round until nothing waits."""
        while self._jobs:
            taken = self._take()
            if not taken:
                continue
            batches = [batch for _, batch in taken]
            try:
                answer = await self._scored(concatenate(batches))
            except (
                Exception
            ) as error:  # each is told; one bad row must not fail the others' requests
                if len(taken) == 1:
                    taken[0][0].fail(error)
                else:
                    await self._apart(taken)
            else:
                start = 0
                for job, batch in taken:
                    end = start + len(batch)
                    job.give({name: values[start:end] for name, values in answer.items()})
                    start = end

    def _take(self) -> list[tuple[_Job, Batch]]:
        """Return the rows of the next round; what nobody waits for any more is dropped."""
        taken: list[tuple[_Job, Batch]] = []
        unfinished = []
        space = ROUND
        while self._jobs and space:
            job = self._jobs.popleft()
            if job.answered.done():
                continue
            batch = job.take(space)
            space -= len(batch)
            taken.append((job, batch))
            if job.left:
                unfinished.append(job)
        self._jobs.extend(unfinished)
        return taken

    async def _apart(self, taken: list[tuple[_Job, Batch]]) -> None:
        """Score what failed together one by one."""
        for job, batch in taken:
            try:
                job.give(await self._scored(batch))
            except Exception as error:
                job.fail(error)


def turn_of(service: Service, clock: Callable[[], float] = time.perf_counter) -> int:
    """Return how many rows the model scores within a turn of the loop, warm; 0 where one is too slow already."""
    found = 0
    for rows in TURNS:
        records = service.canary.records
        batch = service.encode([records[n % len(records)] for n in range(rows)])
        if _fastest(service, batch, clock) > (PAUSE if found else QUICK):
            break
        found = rows
    return found


def _fastest(service: Service, batch: Batch, clock: Callable[[], float]) -> float:
    """Return the seconds of the fastest of three calls."""
    times = []
    for _ in range(3):
        started = clock()
        with contextlib.suppress(ProofError):  # health will say so
            service.answer(batch)
        times.append(clock() - started)
    return min(times)
