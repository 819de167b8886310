"""Prometheus metrics under the field's own names, in the text format 0.0.4."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cannery.errors import Issue, MalformedError, SchemaError
from cannery.serving.choices import Answer
from cannery.signatures import Output

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram, in seconds."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
"""Upper bounds of the histogram of rows scored in one call."""
TENTHS = tuple(n / 10 for n in range(1, 10))
"""Upper bounds of the histogram of probabilities."""
_PENDING = 4096
"""Rows of answers that are kept until somebody counts them."""


class Histogram:
    """Counts by upper bound, and the sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    """What one process has done since it started."""

    def __init__(
        self, info: Mapping[str, str], started: float, outputs: tuple[Output, ...] = ()
    ) -> None:
        """Take the labels of the model, the Unix time of the start, and what the model answers."""
        self._info = dict(info)
        self._started = started
        self._outputs = outputs
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._latency: dict[str, Histogram] = {}
        self._calls = Histogram(ROWS)
        self._refusals: Counter[str] = Counter()
        self._labels: dict[str, Counter[str]] = {}
        self._values: dict[str, Histogram] = {}
        self._pending: list[Answer] = []
        self._kept = 0
        self.in_flight = 0
        self.rows = 0
        self.canary: bool | None = None

    def observe(self, method: str, path: str, code: int, seconds: float) -> None:
        """Count one finished request; `path` is a route, never what a caller made up."""
        self.observe_all(method, path, code, (seconds,))

    def observe_all(self, method: str, path: str, code: int, seconds: Sequence[float]) -> None:
        """Count requests that finished together."""
        self._requests[method, path, code] += len(seconds)
        latency = self._latency.get(path)
        if latency is None:
            latency = self._latency[path] = Histogram(BUCKETS)
        for value in seconds:
            latency.add(value)

    def scored(self, rows: int, answer: Answer) -> None:
        """Count one call of the model; what it answered is looked at when somebody asks."""
        self._calls.add(rows)
        self._pending.append(answer)
        self._kept += rows
        if self._kept > _PENDING:
            self._look()

    def refused(self, error: SchemaError) -> None:
        """Count what was wrong with a request, by kind."""
        if isinstance(error, MalformedError) or not error.issues:
            self._refusals["malformed"] += 1
        for issue in error.issues:
            self._refusals[kind_of(issue)] += 1

    def text(self) -> bytes:
        """Return everything in the exposition format."""
        self._look()
        return ("\n".join(self._lines()) + "\n").encode()

    def _look(self) -> None:
        """Count labels and probabilities of the answers since the last look."""
        pending, self._pending, self._kept = self._pending, [], 0
        for output in self._outputs:
            arrays = [answer[output.name] for answer in pending if output.name in answer]
            if not arrays:
                continue
            values = np.concatenate(arrays)
            if output.probability:
                histogram = self._values.setdefault(output.name, Histogram(TENTHS))
                places = np.searchsorted(TENTHS, values.astype(np.float64))
                for place, count in enumerate(np.bincount(places, minlength=len(TENTHS) + 1)):
                    histogram.counts[place] += int(count)
                histogram.sum += float(values.sum())
            elif output.classes is not None:
                labels = self._labels.setdefault(output.name, Counter())
                labels.update(map(str, values.tolist()))

    def _lines(self) -> Iterator[str]:
        yield from _head("cannery_model_info", "gauge", "The model that is served.")
        yield f"cannery_model_info{_labels(self._info)} 1"
        if self.canary is not None:
            yield from _head("cannery_canary_ok", "gauge", "Whether the canary came out right.")
            yield f"cannery_canary_ok {int(self.canary)}"
        yield from _head("cannery_rows_total", "counter", "Rows answered.")
        yield f"cannery_rows_total {self.rows}"
        yield from _head("http_requests_in_flight", "gauge", "Requests being answered.")
        yield f"http_requests_in_flight {self.in_flight}"
        yield from _head("process_start_time_seconds", "gauge", "Unix time of the start.")
        yield f"process_start_time_seconds {self._started:.3f}"
        yield from _head("http_requests_total", "counter", "Requests answered.")
        for (method, path, code), count in sorted(self._requests.items()):
            labels = _labels({"method": method, "path": path, "code": str(code)})
            yield f"http_requests_total{labels} {count}"
        name = "http_request_duration_seconds"
        yield from _head(name, "histogram", "Seconds from request to answer.")
        for path, latency in sorted(self._latency.items()):
            yield from _histogram(name, {"path": path}, latency)
        yield from _head("cannery_batch_rows", "histogram", "Rows scored in one call.")
        yield from _histogram("cannery_batch_rows", {}, self._calls)
        yield from self._about_answers()

    def _about_answers(self) -> Iterator[str]:
        name = "cannery_validation_errors_total"
        yield from _head(name, "counter", "What was wrong with requests.")
        for kind, count in sorted(self._refusals.items()):
            yield f"{name}{_labels({'kind': kind})} {count}"
        name = "cannery_predictions_total"
        yield from _head(name, "counter", "Rows by answered label.")
        for output, counts in sorted(self._labels.items()):
            for label, count in sorted(counts.items()):
                yield f"{name}{_labels({'output': output, 'label': label})} {count}"
        name = "cannery_prediction_probability"
        yield from _head(name, "histogram", "Answered probabilities.")
        for output, histogram in sorted(self._values.items()):
            yield from _histogram(name, {"output": output}, histogram)


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


def _histogram(name: str, labels: Mapping[str, str], histogram: Histogram) -> Iterator[str]:
    total = 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
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
