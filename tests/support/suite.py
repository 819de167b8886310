"""The conversion suite: fitted models, each taken through the line's own conversion, and what came of it."""

from __future__ import annotations

import os
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import pandas as pd
import pyarrow as pa
from originals import VERSIONS

from cannery.audits.audit import audit
from cannery.audits.contents import content
from cannery.audits.policy import Cleared, Policy, clear
from cannery.cans.manifest import Runtime
from cannery.conversions.choose import ConvertOptions, convert, convert_opened
from cannery.conversions.nouns import Conversion, Parity
from cannery.errors import CanneryError, ConversionError
from cannery.isolation import messages as m
from cannery.isolation.handing import handed
from cannery.isolation.inside import Worker, _failed
from cannery.isolation.sandbox import Level
from cannery.isolation.worker import Original
from cannery.sources.fetch import fetch

Outcome = Literal["equal", "fallback", "refused", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model to be fitted, and the rows it is asked about."""

    name: str
    group: str
    make: Callable[[], tuple[Any, pd.DataFrame]]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one case."""

    name: str
    group: str
    outcome: Outcome
    """equal: an exact graph; fallback: another runtime that matches; refused: no runtime; broken: a failure without a word."""
    runtime: Runtime | None = None
    differed: bool = False
    """Whether a graph was made that parity then rejected."""
    rows: int = 0
    kinds: tuple[str, ...] = ()
    maximum: float = 0.0
    reason: str = ""
    seconds: float = 0.0


class _Near:
    """A worker without a process: the same requests and replies, over the same bytes."""

    def __init__(self) -> None:
        self._worker = Worker()

    def ask(self, request: m.Request) -> m.Reply:
        """Return what the worker would reply."""
        decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=m.Request)
        try:
            reply = self._worker.reply(decoded)
        except Exception as error:
            reply = _failed(error)
        found: m.Reply = msgspec.msgpack.decode(msgspec.msgpack.encode(reply), type=m.Reply)
        return found


def opened_near(cleared: Cleared) -> Original:
    """Open an original in this process: the models of the suite are our own."""
    source, near = cleared.source, _Near()
    with handed(content(source.blob)) as memory:
        request = m.Open(
            format=source.format,
            digest=source.blob.digest,
            names=tuple(sorted(cleared.names)),
            descriptor=os.dup(memory.fileno()),
        )
        opened = near.ask(request)
    if not isinstance(opened, m.Opened):
        raise ConversionError(getattr(opened, "message", "the worker did not open it"))
    told = msgspec.structs.replace(opened.description, versions=VERSIONS)
    return Original(near, Level(name="rlimits", stops=()), told, cleared.policy)


def cleared_file(path: Path) -> Cleared:
    """Fetch and audit the file of a model, and clear it."""
    source = fetch(str(path), staging=path.parent / "staging")
    return clear(source, audit(source), Policy())


def run(case: Case, *, worker: bool = False) -> Finding:
    """Fit the model of a case and take it from its file through audit and conversion.

    With `worker` the original is opened in a sandboxed process, as the line does it.
    """
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        model, rows = case.make()
        path = Path(folder) / "model.pkl"
        path.write_bytes(pickle.dumps(model))
        start = time.perf_counter()
        try:
            found = _converted(path, rows, worker=worker)
        except Exception as error:
            ours = isinstance(error, CanneryError)
            reason = error.message if isinstance(error, CanneryError) else repr(error)
            return Finding(
                name=case.name,
                group=case.group,
                outcome="refused" if ours else "broken",
                reason=reason,
                differed="onnx: differs" in reason,
                seconds=round(time.perf_counter() - start, 2),
            )
        parity = found.parity
        assert parity is not None
        return Finding(
            name=case.name,
            group=case.group,
            outcome="equal" if found.artifact.runtime == "onnx" else "fallback",
            runtime=found.artifact.runtime,
            differed=any(n.startswith("onnx: differs") for n in found.notes),
            rows=parity.rows,
            kinds=_kinds(parity),
            maximum=parity.maximum,
            reason="; ".join(n for n in found.notes if not n.startswith("the estimator was")),
            seconds=round(time.perf_counter() - start, 2),
        )


def _converted(path: Path, rows: pd.DataFrame, *, worker: bool) -> Conversion:
    cleared = cleared_file(path)
    sample = pa.Table.from_pandas(rows, preserve_index=False)
    if worker:
        return convert(cleared, sample=sample)
    original = opened_near(cleared)
    return convert_opened(original, cleared.source, sample=sample, options=ConvertOptions())


def _kinds(parity: Parity) -> tuple[str, ...]:
    return tuple(d.kind for d in parity.differences if d.rows)
