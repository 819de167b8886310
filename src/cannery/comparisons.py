"""In what two cans or images differ: model, schema, packages, layers, size, and answers to the same rows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from cannery.cans.manifest import CanManifest
from cannery.cans.open import Can
from cannery.errors import CanneryError
from cannery.subjects import Looking, Subject, can_of, look

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NONE: Mapping[str, Any] = MappingProxyType({})
Changes = dict[str, tuple[Any, Any]]
"""What differs → how it is in the first and in the second; None where one has no such thing."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """How far two models agree on one answered field."""

    name: str
    rows: int
    changed: int
    """Rows with another answer."""
    largest: float | None = None
    """Largest distance of numbers."""
    mean: float | None = None
    row: int | None = None
    """The row (from 0) that differs most, or first."""
    values: tuple[Any, Any] | None = None
    """The two answers to that row."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All that differs; everything is empty between equals."""

    first: str
    second: str
    model: Changes
    features: Changes
    outputs: Changes
    packages: Changes
    """Name → versions; of two images alone: a can has no packages."""
    image: Changes
    """What else the images say of themselves: platform, user, size."""
    layers: Changes
    """Name → digest and bytes."""
    answers: tuple[Answered, ...] = ()
    unanswered: str | None = None
    """Why answers were not compared."""

    @property
    def same(self) -> bool:
        """Whether nothing at all differs."""
        parts = (self.model, self.features, self.outputs, self.packages, self.image, self.layers)
        return not any(parts) and not any(a.changed for a in self.answers)


def compare(
    first: str, second: str, *, rows: Path | None = None, looking: Looking | None = None
) -> Comparison:
    """Compare what two words name; both models score `rows`, or without any the canaries of both.

    Raises what `look` raises.
    """
    subjects = look(first, looking), look(second, looking)
    cans = [subject.can for subject in subjects]
    # An image is larger as an engine keeps it than as it travels: such sizes are not compared.
    sized = len({bool(s.image.digest) for s in subjects if s.image}) == 1
    images = subjects if all(subject.image for subject in subjects) else ()
    answers: tuple[Answered, ...] = ()
    unanswered = None
    if None in cans:
        unanswered = "not both carry a can"
    else:
        try:
            answers = _answers(first, second, rows, looking)
        except CanneryError as error:
            unanswered = error.message
    return Comparison(
        first=first,
        second=second,
        model=_changes(*(_model(subject) for subject in subjects)),
        features=_changes(*(_features(can) for can in cans)),
        outputs=_changes(*(_outputs(can) for can in cans)),
        packages=_changes(*(_packages(subject) for subject in images)),
        image=_changes(*(_image(subject, sized=sized) for subject in images)),
        layers=_changes(*(_layers(subject, sized=sized) for subject in images)),
        answers=answers,
        unanswered=unanswered,
    )


def _changes(first: Mapping[str, Any] = _NONE, second: Mapping[str, Any] = _NONE) -> Changes:
    return {
        key: (first.get(key), second.get(key))
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    }


def _model(subject: Subject) -> dict[str, Any]:
    can = subject.can
    if can is None:
        return {}
    source = can.source
    return {
        "name": can.name,
        "version": can.version,
        "source": source.resolved,
        "file": source.digest,
        "run": source.run_id,
        "runtime": can.runtime,
        "task": can.task,
        "can": subject.digest,
        "bytes": can.files[can.model].size,
        **{f"metric {name}": value for name, value in sorted(source.metrics.items())},
    }


def _features(can: CanManifest | None) -> dict[str, Any]:
    features = () if can is None else can.signature.features
    return {f.name: msgspec.to_builtins(f) for f in features}


def _outputs(can: CanManifest | None) -> dict[str, Any]:
    outputs = () if can is None else can.signature.outputs
    return {o.name: msgspec.to_builtins(o) for o in outputs}


def _packages(subject: Subject) -> dict[str, str]:
    models = {subject.can.name} if subject.can else set()
    known = subject.image.packages if subject.image else {}
    return {name: p.version for name, p in sorted(known.items()) if name not in models}


def _image(subject: Subject, *, sized: bool) -> dict[str, Any]:
    image = subject.image
    if image is None:
        return {}
    return {
        "id": image.id,
        "platform": image.platform,
        "user": image.user,
        "starts": " ".join(image.argv),
        **({"bytes": image.size} if sized else {}),
    }


def _layers(subject: Subject, *, sized: bool) -> dict[str, Any]:
    layers = subject.image.layers if subject.image else ()
    return {
        layer.name: {"content": layer.diff_id, **({"bytes": layer.size} if sized else {})}
        for layer in layers
    }


def _answers(
    first: str, second: str, rows: Path | None, looking: Looking | None
) -> tuple[Answered, ...]:
    with tempfile.TemporaryDirectory(prefix="cannery-") as scratch:
        cans = [
            can_of(word, Path(scratch) / place, looking)
            for word, place in ((first, "first"), (second, "second"))
        ]
        if rows is None:
            records = [record for can in cans for record in can.canary().records]
            scored = [_of_records(can, records) for can in cans]
        else:
            scored = [_of_file(can, rows) for can in cans]
    shared = [name for name in scored[0] if name in scored[1]]
    return tuple(_answered(name, scored[0][name], scored[1][name]) for name in shared)


def _of_records(can: Can, records: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    from cannery.serving.schema import encode

    # A feature that the other model lacks is no reason not to compare.
    known = {feature.name for feature in can.manifest.signature.features}
    own = [{k: v for k, v in record.items() if k in known} for record in records]
    return _scored(can, encode(own, can.manifest.signature))


def _of_file(can: Can, rows: Path) -> dict[str, NDArray[Any]]:
    from cannery.tables import read_table, to_batch

    return _scored(can, to_batch(read_table(rows), can.manifest.signature))


def _scored(can: Can, batch: Any) -> dict[str, NDArray[Any]]:
    from cannery.serving.schema import columns
    from cannery.serving.scorer import open_scorer

    return columns(open_scorer(can).score(batch), can.manifest.signature, len(batch))


def _answered(name: str, first: NDArray[Any], second: NDArray[Any]) -> Answered:
    import numpy as np

    numbers = all(np.issubdtype(a.dtype, np.number) for a in (first, second))
    if numbers:
        distance: NDArray[np.float64] = np.abs(first.astype(float) - second.astype(float))
        differ = distance > 0
    else:
        distance = np.zeros(len(first))
        differ = np.array([a != b for a, b in zip(first.tolist(), second.tolist(), strict=True)])
    worst = None
    if differ.any():
        worst = int(distance.argmax() if numbers else differ.argmax())
    return Answered(
        name=name,
        rows=len(first),
        changed=int(differ.sum()),
        largest=float(distance.max()) if numbers else None,
        mean=float(distance.mean()) if numbers else None,
        row=worst,
        values=None if worst is None else (first.tolist()[worst], second.tolist()[worst]),
    )
