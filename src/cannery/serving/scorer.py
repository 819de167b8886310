"""Rows in, rows out: the one protocol behind which every runtime stands, and the only user of ONNX Runtime."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cannery.cans.manifest import Feed, Terms
from cannery.errors import CanError, ProofError, SchemaError
from cannery.serving.pickles import declared
from cannery.serving.starting import quieten
from cannery.serving.texts import cut_all, cutter
from cannery.serving.weights import apart
from cannery.signatures import Batch, Raw, Signature

if TYPE_CHECKING:
    from cannery.cans.open import Can

_QUIET = 4
"""ONNX Runtime's severity `fatal`: what goes wrong is raised, and need not be printed too."""
_FOLDER = "session.model_external_initializers_file_folder_path"
_DTYPES: dict[str, Any] = {"float32": np.float32, "int64": np.int64, "bool": np.bool_}
_FLOAT32_MAX = float(np.finfo(np.float32).max)

_WIDE = 1 << 22
"""Counts of terms (rows times terms) that are held at once."""
_ROUND = 1024
"""Rows that are scored at once for each thread: what is computed on the way stays near the processor."""

_CHOICE = b"then_branch"
"""What stands in a graph that computes many rows otherwise than few; for one row it is settled beforehand."""
_LARGE = 1 << 22
"""Bytes of a graph that is opened once: another ten times as many, to spare each row 3 µs, are too many."""
_ROWS = "N"
"""How our graphs call the number of rows."""

Fill = Callable[[Batch], NDArray[Any]]


class Scorer(Protocol):
    """A loaded model."""

    def score(self, batch: Batch) -> Raw:
        """Return the raw outputs of these rows.

        Raises SchemaError for a value that the model can't take, ProofError when it fails.
        """
        ...


class OnnxScorer:
    """A graph in an ONNX Runtime session, on the CPU, from bytes."""

    __slots__ = ("_fills", "_most", "_outputs", "_session", "_single")

    def __init__(
        self,
        sessions: tuple[Any, Any],
        fills: dict[str, Fill],
        outputs: list[str],
        most: int,
    ) -> None:
        """Take a session for any number of rows and one for a single row; `most` rows are scored at once."""
        self._session, self._single = sessions
        self._fills = fills
        self._outputs = outputs
        self._most = most

    def score(self, batch: Batch) -> Raw:
        """Return the tensors that were asked for, each [rows] or [rows, columns]."""
        if len(batch) <= self._most:
            return self._score(batch)
        starts = range(0, len(batch), self._most)
        parts = [self._score(batch.take(slice(at, at + self._most))) for at in starts]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def _score(self, batch: Batch) -> Raw:
        feeds = {name: fill(batch) for name, fill in self._fills.items()}
        session = self._single if len(batch) == 1 else self._session
        try:
            values = session.run(self._outputs, feeds)
        except Exception as error:  # ONNX Runtime raises a dozen classes without a common base
            raise ProofError(f"the graph failed on {len(batch)} rows: {_brief(error)}") from error
        return dict(zip(self._outputs, map(np.asarray, values), strict=True))


def onnx_scorer(
    data: bytes,
    signature: Signature,
    feeds: tuple[Feed, ...],
    *,
    outputs: tuple[str, ...] | None = None,
    threads: int = 1,
    beside: Path | None = None,
) -> OnnxScorer:
    """Open a graph from bytes; `outputs` are the tensors to ask for (default: those of the signature).

    `beside` is the folder of the files that its constants are parts of, where we took them apart.

    Raises CanError when the bytes are no graph, or don't match the signature or the feeds.
    """
    session = _session(data, threads, beside)
    wanted = outputs or tuple(dict.fromkeys(o.tensor for o in signature.outputs))
    _same("output", wanted, [o.name for o in session.get_outputs()], exact=False)
    _same("input", [f.input for f in feeds], [i.name for i in session.get_inputs()], exact=True)
    chooses = len(data) < _LARGE and _CHOICE in data
    chooses = chooses and all(i.shape[:1] == [_ROWS] for i in session.get_inputs())
    widest = max((f.terms.width for f in feeds if f.terms is not None), default=0)
    return OnnxScorer(
        (session, _session(data, threads, beside, rows=1) if chooses else session),
        {f.input: _fill(f, signature) for f in feeds},
        list(wanted),
        max(16, min(_ROUND * max(threads, 1), _WIDE // max(widest, 1))),
    )


def _session(data: bytes, threads: int, beside: Path | None, rows: int | None = None) -> Any:
    """Open a graph for so many rows, or for any number; raises CanError for bytes that are no graph."""
    quieten()
    import onnxruntime  # absent from the images of other runtimes

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    if beside is not None:
        options.add_session_config_entry(_FOLDER, os.fspath(beside.resolve()))
    if rows is not None:
        options.add_free_dimension_override_by_name(_ROWS, rows)
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen classes without a common base
        raise CanError(f"ONNX Runtime can't open the graph: {_brief(error)}") from error


def open_scorer(can: Can, *, threads: int = 1) -> Scorer:
    """Load the model of an opened can; raises CanError when its runtime can't."""
    manifest = can.manifest
    match manifest.runtime:
        case "onnx":
            data = apart(can.model_path)
            beside = None if data is None else can.folder
            return onnx_scorer(
                data or can.model(),
                manifest.signature,
                manifest.feeds,
                threads=threads,
                beside=beside,
            )
        case runtime:
            from cannery.serving.estimators import estimator_scorer  # no image of ONNX needs it

            return estimator_scorer(
                can.model(),
                manifest.signature,
                runtime=runtime,
                task=manifest.task,
                trusted=manifest.trusted,
                pickles=declared(),
                named=manifest.named,
            )


def _brief(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


def _same(kind: str, asked: Any, offered: list[str], *, exact: bool) -> None:
    """Raise CanError unless the graph offers what the manifest names."""
    missing = [name for name in asked if name not in offered]
    unfed = [name for name in offered if name not in asked] if exact else []
    if missing or unfed:
        problem = (
            f"no {kind} '{missing[0]}'" if missing else f"{kind} '{unfed[0]}', which is not fed"
        )
        raise CanError(f"the graph has {problem} (it has: {', '.join(offered) or 'none'})")


def _fill(feed: Feed, signature: Signature) -> Fill:
    """Return the function that takes this feed's columns from a batch.

    Raises CanError for a feature that is unknown, of the other block, or null where the input can't be.
    """
    known = {f.name: f for f in signature.features}
    block = signature.strings if feed.dtype == "string" else signature.numbers
    places = {f.name: index for index, f in enumerate(block)}
    for name in feed.features:
        if name not in known:
            raise CanError(f"the input '{feed.input}' is fed by '{name}', which is no feature")
        if name not in places:
            raise CanError(
                f"the input '{feed.input}' takes {feed.dtype}, but '{name}' is {known[name].type}"
            )
        if known[name].nullable and feed.dtype in ("int64", "bool"):
            raise CanError(f"the input '{feed.input}' has no null, but '{name}' may be null")
    if feed.terms is not None and (len(feed.features) != 1 or feed.dtype != "string"):
        raise CanError(f"the input '{feed.input}' takes the terms of one text")
    if feed.rank == 1 and len(feed.features) != 1:
        raise CanError(
            f"the input '{feed.input}' is a vector, but has {len(feed.features)} features"
        )
    return _columns(feed, [places[name] for name in feed.features], whole=len(block))


def _columns(feed: Feed, places: list[int], *, whole: int) -> Fill:
    """Return the function that slices, shapes and casts; the whole block is passed on as it is."""
    if feed.terms is not None:
        return _terms(feed.terms, places[0])
    pick: Any = slice(None) if places == list(range(whole)) else places
    if feed.rank == 1:
        pick = places[0]
    if feed.dtype == "string":
        return lambda batch: np.ascontiguousarray(batch.strings[:, pick])
    if feed.dtype == "float64":
        return lambda batch: np.ascontiguousarray(batch.numbers[:, pick])
    if feed.dtype == "float32":
        return lambda batch: _single(batch.numbers[:, pick], feed)
    dtype = _DTYPES[feed.dtype]
    return lambda batch: np.ascontiguousarray(batch.numbers[:, pick]).astype(dtype)


def _terms(terms: Terms, place: int) -> Fill:
    """Return the function that cuts one column of texts; raises CanError where it is not known how."""
    try:
        cut = cutter(terms)
    except (ValueError, re.error) as error:
        raise CanError(f"texts can't be cut as the can says: {error}") from error
    return lambda batch: cut_all(cut, batch.strings[:, place])


def _single(values: NDArray[np.float64], feed: Feed) -> NDArray[np.float32]:
    """Cast to float32; raises SchemaError where a finite number would become infinite, as scikit-learn does."""
    if np.any(np.abs(values) > _FLOAT32_MAX):  # NaN compares false
        raise SchemaError(f"a number in {', '.join(feed.features)} is beyond the range of float32")
    return np.ascontiguousarray(values, dtype=np.float32)
