"""Prometheus metrics under the field's own names, in the text format 0.0.4."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram, in seconds."""


class Metrics:
    """What one process has done since it started."""

    def __init__(self, info: Mapping[str, str], started: float) -> None:
        """Take the labels of the model and the Unix time of the start."""
        self._info = dict(info)
        self._started = started
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._latency: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self.in_flight = 0
        self.rows = 0
        self.canary: bool | None = None

    def observe(self, method: str, path: str, code: int, seconds: float) -> None:
        """Count one finished request; `path` is a route, never what a caller made up."""
        self._requests[method, path, code] += 1
        counts = self._latency.setdefault(path, [0] * (len(BUCKETS) + 1))
        counts[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[path] = self._seconds.get(path, 0.0) + seconds

    def text(self) -> bytes:
        """Return everything in the exposition format."""
        return ("\n".join(self._lines()) + "\n").encode()

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
        for path, counts in sorted(self._latency.items()):
            yield from self._histogram(name, path, counts)

    def _histogram(self, name: str, path: str, counts: list[int]) -> Iterator[str]:
        total = 0
        for bound, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
            total += count
            yield f"{name}_bucket{_labels({'path': path, 'le': str(bound)})} {total}"
        yield f"{name}_sum{_labels({'path': path})} {self._seconds[path]:.6f}"
        yield f"{name}_count{_labels({'path': path})} {total}"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
