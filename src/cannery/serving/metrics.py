"""Prometheus metrics under the field's own names, in the text format 0.0.4."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from cannery.errors import Issue, MalformedError, SchemaError
from cannery.serving.boards import Board
from cannery.serving.choices import Answer
from cannery.signatures import Output

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram, in seconds."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
"""Upper bounds of the histogram of rows scored in one call."""
TENTHS = tuple(n / 10 for n in range(1, 10))
"""Upper bounds of the histogram of probabilities."""
LABELS = 200
"""Different labels that are told apart; a model may have any number."""
_PENDING = 4096
"""Rows of answers that are kept until somebody counts them."""


class Histogram(msgspec.Struct):
    """Counts by upper bound, and the sum."""

    counts: list[int]
    sum: float = 0.0

    def add(self, other: Histogram) -> None:
        """Add another one's counts."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class Tally(msgspec.Struct):
    """What was counted; that of several processes can be added."""

    requests: dict[tuple[str, str, int], int] = {}
    latency: dict[str, Histogram] = {}
    calls: Histogram = msgspec.field(default_factory=lambda: _empty(ROWS))
    refusals: dict[str, int] = {}
    labels: dict[str, dict[str, int]] = {}
    values: dict[str, Histogram] = {}
    in_flight: int = 0
    rows: int = 0
    canary: bool | None = None
    swaps: dict[str, int] = {}
    """Candidates that a watch found, by what became of them."""
    spans: dict[str, int] = {}
    """Spans by what became of them."""

    def add(self, other: Tally) -> None:
        """Add what another process counted."""
        _sum(self.requests, other.requests)
        _sum(self.refusals, other.refusals)
        _sum(self.swaps, other.swaps)
        _sum(self.spans, other.spans)
        for name, counts in other.labels.items():
            _sum(self.labels.setdefault(name, {}), counts)
        for mine, theirs in ((self.latency, other.latency), (self.values, other.values)):
            for name, histogram in theirs.items():
                mine.setdefault(name, Histogram([0] * len(histogram.counts))).add(histogram)
        self.calls.add(other.calls)
        self.in_flight += other.in_flight
        self.rows += other.rows
        if other.canary is not None:
            self.canary = other.canary and self.canary is not False


class Metrics:
    """What one process has done since it started, and what its siblings have."""

    def __init__(
        self,
        info: Mapping[str, str],
        started: float,
        outputs: tuple[Output, ...] = (),
        *,
        board: Board | None = None,
        slot: int = 0,
    ) -> None:
        """Take the labels of the model, the Unix time of the start, and what the model answers.

        With siblings, `slot` is the place on their board; what a predecessor counted there is counted on.
        """
        self._pending: list[Answer] = []
        self._kept = 0
        self.tally = Tally()
        self.describe(info, outputs)
        self._started = started
        self._board = board
        self._slot = slot
        self.tally = self._of(slot) or Tally()
        self.tally.in_flight = 0

    def describe(self, info: Mapping[str, str], outputs: tuple[Output, ...]) -> None:
        """Take the labels of the model and what it answers; what another answered before is counted first."""
        if self._pending:
            self._look()
        self._info = dict(info)
        self._outputs = outputs

    def observe(self, method: str, path: str, code: int, seconds: float) -> None:
        """Count one finished request; `path` is a route, never what a caller made up."""
        self.observe_all(method, path, code, (seconds,))

    def observe_all(self, method: str, path: str, code: int, seconds: Sequence[float]) -> None:
        """Count requests that finished together."""
        requests = self.tally.requests
        key = (method, path, code)
        requests[key] = requests.get(key, 0) + len(seconds)
        latency = self.tally.latency.get(path)
        if latency is None:
            latency = self.tally.latency[path] = _empty(BUCKETS)
        counts = latency.counts
        for value in seconds:
            counts[bisect_left(BUCKETS, value)] += 1
        latency.sum += sum(seconds)

    def scored(self, rows: int, answer: Answer) -> None:
        """Count one call of the model; what it answered is looked at when somebody asks."""
        calls = self.tally.calls
        calls.counts[bisect_left(ROWS, rows)] += 1
        calls.sum += rows
        self._pending.append(answer)
        self._kept += rows
        if self._kept > _PENDING:
            self._look()

    def refused(self, error: SchemaError) -> None:
        """Count what was wrong with a request, by kind."""
        kinds = Counter(kind_of(issue) for issue in error.issues)
        if isinstance(error, MalformedError) or not kinds:
            kinds["malformed"] += 1
        _sum(self.tally.refusals, kinds)

    def publish(self) -> None:
        """Write what was counted where the siblings see it."""
        if self._board is not None:
            self._look()
            self._board.write(self._slot, msgspec.msgpack.encode(self.tally))

    def text(self) -> bytes:
        """Return everything, that of all siblings together, in the exposition format."""
        self._look()
        self.publish()
        tally = self.tally
        if self._board is not None:
            tally = Tally()
            for slot in range(self._board.slots):
                tally.add(self._of(slot) or Tally())
        return ("\n".join(self._lines(tally)) + "\n").encode()

    def _of(self, slot: int) -> Tally | None:
        data = self._board.read(slot) if self._board is not None else None
        return msgspec.msgpack.decode(data, type=Tally) if data else None

    def _look(self) -> None:
        """Count labels and probabilities of the answers since the last look."""
        pending, self._pending, self._kept = self._pending, [], 0
        for output in self._outputs:
            arrays = [answer[output.name] for answer in pending if output.name in answer]
            if not arrays:
                continue
            values = np.concatenate(arrays)
            if output.probability:
                histogram = self.tally.values.setdefault(output.name, _empty(TENTHS))
                places = np.searchsorted(TENTHS, values.astype(np.float64))
                counts = np.bincount(places, minlength=len(TENTHS) + 1).tolist()
                histogram.add(Histogram(counts, float(values.sum())))
            elif output.classes is not None and len(output.classes) <= LABELS:
                labels = self.tally.labels.setdefault(output.name, {})
                for label, count in Counter(values.tolist()).items():
                    _sum(labels, {str(label): count})

    def _lines(self, tally: Tally) -> Iterator[str]:
        yield from _head("cannery_model_info", "gauge", "The model that is served.")
        yield f"cannery_model_info{_labels(self._info)} 1"
        if tally.canary is not None:
            yield from _head("cannery_canary_ok", "gauge", "Whether the canary came out right.")
            yield f"cannery_canary_ok {int(tally.canary)}"
        yield from _head("cannery_rows_total", "counter", "Rows answered.")
        yield f"cannery_rows_total {tally.rows}"
        yield from _head("http_requests_in_flight", "gauge", "Requests being answered.")
        yield f"http_requests_in_flight {tally.in_flight}"
        yield from _head("process_start_time_seconds", "gauge", "Unix time of the start.")
        yield f"process_start_time_seconds {self._started:.3f}"
        yield from _head("http_requests_total", "counter", "Requests answered.")
        for (method, path, code), count in sorted(tally.requests.items()):
            labels = _labels({"method": method, "path": path, "code": str(code)})
            yield f"http_requests_total{labels} {count}"
        name = "http_request_duration_seconds"
        yield from _head(name, "histogram", "Seconds from request to answer.")
        for path, latency in sorted(tally.latency.items()):
            yield from _histogram(name, {"path": path}, BUCKETS, latency)
        yield from _head("cannery_batch_rows", "histogram", "Rows scored in one call.")
        yield from _histogram("cannery_batch_rows", {}, ROWS, tally.calls)
        yield from _about_answers(tally)


def kind_of(issue: Issue) -> str:
    """Return what kind of thing an issue is: few words, so that they can be a label."""
    if issue.got == "nothing":
        return "missing"
    if issue.got.startswith("an unknown"):
        return "unknown"
    if issue.got == "null":
        return "null"
    if issue.expected.startswith("one of"):
        return "category"
    if issue.expected.startswith(("a finite", "a whole number between")):
        return "range"
    return "type"


def _about_answers(tally: Tally) -> Iterator[str]:
    for name, about, counts in (
        ("cannery_candidates_total", "Further cans that a watch found.", tally.swaps),
        ("cannery_spans_total", "Spans of requests, by what became of them.", tally.spans),
    ):
        yield from _head(name, "counter", about)
        for result, count in sorted(counts.items()):
            yield f"{name}{_labels({'result': result})} {count}"
    name = "cannery_validation_errors_total"
    yield from _head(name, "counter", "What was wrong with requests.")
    for kind, count in sorted(tally.refusals.items()):
        yield f"{name}{_labels({'kind': kind})} {count}"
    name = "cannery_predictions_total"
    yield from _head(name, "counter", "Rows by answered label.")
    for output, counts in sorted(tally.labels.items()):
        for label, count in sorted(counts.items()):
            yield f"{name}{_labels({'output': output, 'label': label})} {count}"
    name = "cannery_prediction_probability"
    yield from _head(name, "histogram", "Answered probabilities.")
    for output, histogram in sorted(tally.values.items()):
        yield from _histogram(name, {"output": output}, TENTHS, histogram)


def _empty(bounds: Sequence[float]) -> Histogram:
    return Histogram([0] * (len(bounds) + 1))


def _sum(mine: dict[Any, int], theirs: Mapping[Any, int]) -> None:
    for key, count in theirs.items():
        mine[key] = mine.get(key, 0) + count


def _histogram(
    name: str, labels: Mapping[str, str], bounds: Sequence[float], histogram: Histogram
) -> Iterator[str]:
    total = 0
    for bound, count in zip((*bounds, "+Inf"), histogram.counts, strict=True):
        total += count
        yield f"{name}_bucket{_labels({**labels, 'le': str(bound)})} {total}"
    shown = _labels(labels) if labels else ""
    yield f"{name}_sum{shown} {histogram.sum:.6f}"
    yield f"{name}_count{shown} {total}"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
