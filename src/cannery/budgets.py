"""How large and how slow an image may be, and what grew when it is over; which known vulnerabilities it must not have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cannery.attestations.advisories import Advisories, Report, report_of
from cannery.attestations.sbom import libraries_of
from cannery.errors import BudgetError, UsageError
from cannery.images.lock import Lock
from cannery.images.store import Store
from cannery.oci.descriptors import Image
from cannery.oci.references import Reference
from cannery.progress import Progress, station
from cannery.proofs.nouns import Proof

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20}
_UNITS["gib"] = 2**30
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Limits of an image; None: no limit."""

    size: int | None = None
    """Bytes of all layers as they travel."""
    start: float | None = None
    """Seconds from the start of the container to its first healthy answer."""
    memory: int | None = None
    """Resident bytes after the canary."""
    advisories: Advisories | None = None
    """Against which the packages are held."""


def parse_size(text: str | int | None, place: str) -> int | None:
    """Return bytes of `60 MB`, `0.5 GiB` or a plain number; raises UsageError naming `place`."""
    if text is None:
        return None
    told = _SIZE.fullmatch(str(text).strip())
    size = round(float(told[1]) * _UNITS.get(told[2].lower(), 0)) if told else 0
    if size <= 0:
        raise UsageError(f"'{text}' at {place} is no size", hint='write it like "60 MB"')
    return size


def check_budgets(
    budgets: Budgets, image: Image, proof: Proof | None, reference: Reference, store: Store
) -> None:
    """Raise BudgetError where an image is over a limit, saying what grew since the last one of that name.

    Without a proof, its size alone is looked at.
    """
    measured: list[tuple[str, float | None, float | None, str]] = [
        ("size", image.size, budgets.size, "bytes"),
        ("start", proof.cold_start if proof else None, budgets.start, "s"),
        ("memory", proof.memory if proof else None, budgets.memory, "bytes"),
    ]
    over = [
        f"{name} is {_shown(found, unit)}, {_shown(limit, unit)} allowed"
        for name, found, limit, unit in measured
        if limit is not None and found is not None and found > limit
    ]
    if over:
        before = store.recall(_key(image, reference), dict[str, int]) or {}
        grown = _grown(before, _sizes(image))
        raise BudgetError(
            f"'{reference}' is over budget: {'; '.join(over)}{grown}",
            hint="`cannery inspect` shows what each layer holds; the limits stand under [image]",
        )


def remember_sizes(image: Image, reference: Reference, store: Store) -> None:
    """Remember an image that is within its budgets, to compare the next one of that name with it."""
    store.remember(_key(image, reference), _sizes(image))


def _key(image: Image, reference: Reference) -> dict[str, str]:
    return {"within budget": reference.name, "architecture": image.architecture}


def _sizes(image: Image) -> dict[str, int]:
    return {layer.name: layer.size for layer in image.layers}


def looked_up(
    images: Sequence[Image],
    lock: Lock,
    budgets: Budgets,
    reference: Reference,
    progress: Progress,
) -> tuple[Report, ...]:
    """Hold the packages of images against the advisories, if there are any.

    Raises SourceError for advisories that can't be read, BudgetError as `check_advisories` does.
    """
    if budgets.advisories is None:
        return ()
    with station("look up", progress) as work:
        libraries = [libraries_of(lock, image.architecture) for image in images]
        found = tuple(report_of(each, budgets.advisories) for each in libraries)
        check_advisories(found, str(reference))
        work.result(advisories_text(found[0]))
    return found


def check_advisories(found: Sequence[Report], name: str) -> None:
    """Raise BudgetError where a package has a known vulnerability that a newer version is without.

    One without a remedy, or accepted with a reason, is no matter for a build.
    """
    refused = {
        f"{one.package} {one.version} has {' / '.join((one.advisory, *one.aliases[:2]))}, "
        + (f"fixed in {one.fixed}" if one.fixed else "with no version that is without it")
        for report in found
        for one in report.findings
        if one.refused
    }
    if refused:
        raise BudgetError(
            f"'{name}' has {len(refused)} known vulnerabilities: {'; '.join(sorted(refused))}",
            hint="`cannery update` takes newer packages; what can be lived with stands with its reason under [image.accepted]",
        )


def advisories_text(report: Report) -> str:
    """Return on one line what the packages of an image were held against, and with what outcome."""
    left = [one for one in report.findings if not one.refused]
    accepted = sum(one.accepted is not None for one in left)
    return (
        f"{report.packages} packages against {report.advisories} advisories of {report.newest[:10]} and before: "
        f"{len(left) - accepted} without a fix, {accepted} accepted"
    )


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return which layer grew most since the last image that was within its budgets."""
    growth = {name: size - before.get(name, 0) for name, size in after.items()}
    name = max(growth, key=lambda n: growth[n], default=None)
    if name is None or not before or growth[name] <= 0:
        same = "; no layer grew since the last one" if before else ""
        largest = max(after, key=lambda n: after[n], default=None)
        return same + (f"; the largest layer is '{largest}'" if largest else "")
    return f"; since the last one the layer '{name}' grew by {_shown(growth[name], 'bytes')}"


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "unknown"
    return f"{value / 1e6:.1f} MB" if unit == "bytes" else f"{value:.2f} s"
