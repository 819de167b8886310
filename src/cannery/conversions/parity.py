"""The parity gate: original against converted, row by row."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.cans.manifest import Runtime
from cannery.conversions.nouns import DECADES, Differences, Kind, Parity, Point
from cannery.conversions.probes import Probed
from cannery.conversions.samples import record_of
from cannery.conversions.schemas import Ask
from cannery.errors import ConversionError
from cannery.serving.decisions import places
from cannery.signatures import Batch, Feature, Output, Raw, Signature

Floats = NDArray[np.float64]

FEW = 16
"""Rows that are asked about at a time, where a graph is asked about few."""
_ALONE = 16
"""Rows that are asked about again, one by one."""
_ROUNDING = 1e-9
"""By which a sum may be off in another order."""
_SHOWN = 100
"""Rows of each kind that are kept for a plot; a quarter more of those that differ most."""


def flips(original: Raw, converted: Raw, outputs: Sequence[Output] = ()) -> NDArray[np.bool_]:
    """Return for each row whether a label changed: the model's, or one that `[outputs]` decides."""
    changed = _labels(original, converted)
    for output in outputs:
        if output.threshold is None and output.rank is None:
            continue
        ours, theirs = _judged(original, output), _judged(converted, output)
        if theirs.shape != ours.shape:
            return np.ones(len(changed), dtype=bool)
        changed |= places(ours, output) != places(theirs, output)
    return changed


def _judged(raw: Raw, output: Output) -> NDArray[Any]:
    """Return the scores from which a field is decided."""
    values = np.asarray(raw.get(output.tensor, np.empty(0)))
    if output.rank is not None:
        return values
    return values[:, output.column or 0] if values.ndim == 2 else values


def _labels(original: Raw, converted: Raw) -> NDArray[np.bool_]:
    """Return for each row whether the model's label changed; none did where there are no labels."""
    rows = _rows(original)
    if "label" not in original:
        return np.zeros(rows, dtype=bool)
    ours, theirs = original["label"], converted.get("label")
    if theirs is None or theirs.shape != ours.shape:
        return np.ones(rows, dtype=bool)
    numeric = ours.dtype.kind in "fiub", theirs.dtype.kind in "fiub"
    if numeric == (True, True):
        return _any(ours.astype(np.float64) != theirs.astype(np.float64))
    if any(numeric):
        return np.ones(rows, dtype=bool)
    return _any(ours.astype(object) != theirs.astype(object))


def _any(changed: Any) -> NDArray[np.bool_]:
    """Return for each row whether one of its labels changed."""
    return np.asarray(np.any(np.atleast_2d(changed.T), axis=0), dtype=np.bool_)


def distances(original: Raw, converted: Raw) -> Floats:
    """Return for each row the largest difference of its scores.

    Absolute for probabilities, else relative to max(1, |original|). NaN equals NaN, and an infinity
    itself; where only one side is not finite, or a shape differs, the distance is infinite.
    """
    largest = np.zeros(_rows(original))
    for name, ours in original.items():
        if name == "label":
            continue
        theirs = converted.get(name)
        if theirs is None or len(theirs) != len(ours) or theirs.size != ours.size:
            return np.full(len(largest), np.inf)
        width = ours.reshape(len(ours), -1).shape[1] if ours.size else 1
        far = _far(
            ours.reshape(-1, width), theirs.reshape(-1, width), relative=name != "probabilities"
        )
        largest = np.maximum(largest, far.max(axis=1, initial=0.0))
    return largest


def _far(ours: NDArray[Any], theirs: NDArray[Any], *, relative: bool) -> Floats:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.abs(a - b)
        if relative:
            far = far / np.maximum(1.0, np.abs(a))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isfinite(a) & np.isfinite(b), far, np.inf))


def _rows(raw: Raw) -> int:
    return len(next(iter(raw.values()))) if raw else 0


def compare(
    kind: Any, original: Raw, converted: Raw, outputs: Sequence[Output] = ()
) -> Differences:
    """Return the differences over the rows of one kind."""
    far = distances(original, converted)
    return Differences(
        kind=kind,
        rows=len(far),
        maximum=float(far.max(initial=0.0)),
        percentile999=float(np.quantile(far, 0.999, method="higher")) if len(far) else 0.0,
        flips=int(flips(original, converted, outputs).sum()),
        decades=(int((far == 0).sum()), *_counted(far[far != 0])),
    )


def _counted(far: Floats) -> list[int]:
    """Return how many differences are below each of `DECADES`, and how many above the last."""
    places = np.searchsorted(DECADES, far, side="right")
    return [int(n) for n in np.bincount(places, minlength=len(DECADES) + 1)]


def _points(kind: Kind, original: Raw, converted: Raw, far: Floats) -> Iterator[Point]:
    """Yield some rows with scores, in order: those that differ most, and some spread over the scores."""
    name = next((n for n in sorted(original) if n != "label"), None)
    if name is None or not len(far) or name not in converted:
        return
    ours = original[name].reshape(len(far), -1).astype(np.float64)
    theirs = converted[name].reshape(len(far), -1).astype(np.float64)
    if theirs.shape != ours.shape or not ours.shape[1]:
        return
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.nan_to_num(np.abs(ours - theirs), nan=-1.0)
    column = ours.shape[1] - 1 - np.argmax(apart[:, ::-1], axis=1)
    rows = np.arange(len(far))
    a, b = ours[rows, column], theirs[rows, column]
    finite = np.flatnonzero(np.isfinite(a) & np.isfinite(b))
    most = finite[np.argsort(-far[finite], kind="stable")[: _SHOWN // 4]]
    spread = finite[np.argsort(a[finite], kind="stable")]
    spread = (
        spread[np.unique(np.linspace(0, len(spread) - 1, _SHOWN).astype(int))]
        if len(spread)
        else spread
    )
    for row in np.union1d(most, spread):
        yield Point(kind, float(a[row]), float(b[row]))


def in_parts(score: Callable[[Batch], Raw], batch: Batch) -> Raw:
    """Return the answers to few rows at a time, and to one in `FEW` alone."""
    edges = sorted({len(batch), *range(0, len(batch), FEW), *range(1, len(batch), FEW)})
    parts = [score(batch.take(slice(start, end))) for start, end in pairwise(edges)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_alone(ask: Ask, sample: Probed, features: tuple[Feature, ...], tolerance: float) -> None:
    """Raise ConversionError where the original answers a quarter of the rows otherwise when they come alone.

    A few may lie on a threshold, to the last digit: on which side depends on the order of a sum.
    """
    few = range(min(len(sample.batch), _ALONE))
    each = [ask(sample.batch.take(slice(i, i + 1)), features) for i in few]
    alone = {name: np.concatenate([raw[name] for raw in each]) for name in each[0]}
    together = {name: values[: len(few)] for name, values in sample.raw.items()}
    other = (distances(together, alone) > max(tolerance, _ROUNDING)) | flips(together, alone)
    if 4 * int(other.sum()) >= len(few):
        raise ConversionError(
            "the original answers a row otherwise when others come with it: its answer is no function of the row",
            hint="replace the step that answers at random, or looks at all rows at once (NMF does)",
        )


def _farther(original: Raw, one: Raw, other: Raw, outputs: Sequence[Output]) -> Raw:
    """Return for each row the answer that is farther from the original's."""
    far, flipped = (
        [judge(original, each) for each in (one, other)]
        for judge in (distances, lambda a, b: flips(a, b, outputs))
    )
    swap = (flipped[1] > flipped[0]) | ((flipped[1] == flipped[0]) & (far[1] > far[0]))
    if not swap.any():
        return one
    if any(one[name].shape != other[name].shape for name in one):
        return other
    return {
        name: np.where(swap.reshape(-1, *(1,) * (values.ndim - 1)), other[name], values)
        for name, values in one.items()
    }


def certify(
    probed: Sequence[Probed],
    score: Callable[[Batch], Raw],
    signature: Signature,
    *,
    runtime: Runtime,
    tolerance: float,
    refused: tuple[str, ...],
) -> Parity:
    """Score every probe with the converted model and return the certificate, passed or not.

    A graph may compute many rows otherwise than few: it is asked both ways, and the worse answer counts.
    """
    differences: list[Differences] = []
    points: list[Point] = []
    worst: tuple[tuple[bool, float], dict[str, Any]] | None = None
    for one in probed:
        converted = score(one.batch)
        if runtime == "onnx" and len(one.batch) > FEW:
            few = in_parts(score, one.batch)
            converted = _farther(one.raw, converted, few, signature.outputs)
        differences.append(compare(one.kind, one.raw, converted, signature.outputs))
        far, flipped = distances(one.raw, converted), flips(one.raw, converted, signature.outputs)
        if not len(far):
            continue
        points += _points(one.kind, one.raw, converted, far)
        row = int(np.lexsort((far, flipped))[-1])
        rank = (bool(flipped[row]), float(far[row]))
        if rank[1] + rank[0] > 0 and (worst is None or rank > worst[0]):
            record = record_of(one.batch, signature.features, row)
            worst = rank, _both(one.raw, converted, row, record)
    return Parity(
        runtime=runtime,
        tolerance=tolerance,
        differences=tuple(differences),
        worst=None if worst is None else worst[1],
        refused=refused,
        decided=tuple(o.name for o in signature.outputs if o.threshold is not None or o.rank),
        points=tuple(points),
    )


def _both(original: Raw, converted: Raw, row: int, record: dict[str, Any]) -> dict[str, Any]:
    def shown(raw: Raw) -> dict[str, Any]:
        return {
            name: values[row].tolist() if hasattr(values[row], "tolist") else values[row]
            for name, values in raw.items()
            if len(values) > row
        }

    return {"record": record, "original": shown(original), "converted": shown(converted)}


def verdict(parity: Parity) -> str:
    """Return in words what failed, or that nothing did."""
    if parity.equal:
        return f"equal on {parity.rows} rows (largest difference {parity.maximum:.1e})"
    failed = [
        f"{d.kind}: {d.flips} labels changed, largest difference {d.maximum:.1e}"
        for d in parity.differences
        if d.flips or not d.maximum <= parity.tolerance
    ]
    return f"differs from the original on {parity.rows} rows ({'; '.join(failed)})"


def remedy(parity: Parity) -> str:
    """Return in words what would let a converted model pass that differs."""
    kinds = {d.kind for d in parity.differences if d.flips or not d.maximum <= parity.tolerance}
    if not parity.flips and math.isfinite(parity.maximum):
        allowed = 10.0 ** math.ceil(math.log10(parity.maximum))
        return f"if a difference of {parity.maximum:.1e} does not matter, allow it: --tolerance {allowed:g}"
    if kinds == {"extreme"}:
        return (
            "only numbers far outside of the sample are answered otherwise, and no tolerance covers that: "
            "clip them before this step, or let another runtime take the model"
        )
    return "no tolerance covers it: replace the step, or let another runtime take the model"


def furthest(worst: dict[str, Any]) -> str:
    """Return the row that is furthest off, and both answers, in words."""
    shown = {key: json.dumps(value, ensure_ascii=False)[:600] for key, value in worst.items()}
    return f"{shown['record']}: the original answers {shown['original']}, converted {shown['converted']}"
