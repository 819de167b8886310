"""What a worker needs installed: the versions that wrote the model, as far as anything tells them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cannery.audits.findings import Audit
from cannery.errors import SourceError
from cannery.serving.boosters import LIBRARIES
from cannery.sources.source import Source

_OWN = {
    **dict.fromkeys(("joblib", "msgspec", "numpy", "pandas", "scikit-learn", "skops"), ""),
    "onnx": ">=1.16",
}
"""What opening and converting need, whatever the model says; `ai.onnx.ml` 5 came with onnx 1.16."""

_KEPT = frozenset({*_OWN, "cloudpickle", "scipy", "threadpoolctl"} - {"onnx"})
"""The recorded names whose versions matter to opening and converting.

So does a package that has the name of a module which the model names: one that the user trusts."""

_BESIDE = ("cloudpickle", "pyarrow")
"""What some models need as well: pyarrow holds the texts of frames, where it is installed."""

_PACKAGES = {"imblearn": "imbalanced-learn"}
"""Modules that a model may name, whose package has another name."""

_TIMES = {
    (1, 1): {"numpy": "<1.24", "scipy": "<1.11", "pandas": "<1.6", "imbalanced-learn": "<0.11"},
    (1, 2): {"numpy": "<1.25", "scipy": "<1.11", "pandas": "<2.1", "imbalanced-learn": "<0.12"},
    (1, 3): {"numpy": "<2", "scipy": "<1.12", "pandas": "<2.2", "imbalanced-learn": "<0.12"},
    (1, 4): {"numpy": "<2", "scipy": "<1.14", "pandas": "<2.3", "imbalanced-learn": "<0.13"},
    (1, 5): {"numpy": "<2.2", "scipy": "<1.15", "pandas": "<2.3", "imbalanced-learn": "<0.13"},
    (1, 6): {"numpy": "<2.3", "scipy": "<1.16", "pandas": "<3", "imbalanced-learn": "<0.14"},
    (1, 7): {"numpy": "<2.4", "scipy": "<1.17", "pandas": "<3", "imbalanced-learn": "<0.15"},
}
"""scikit-learn up to this version → the libraries of its time: it names no newest of them itself, and
what came later removed what it calls. They count where nothing else tells the version."""

_NUMPY_1, _NUMPY_2 = "numpy.core.", "numpy._core."
"""Modules whose names a pickle holds: numpy 2 gave the first the second name, and writes only that."""

_XGBOOST = re.compile(rb"L\0{7}\x07version\[#L\0{7}\x03i(.)i(.)i(.)", re.DOTALL)
"""The version in a booster's UBJSON, as its files and pickles hold it: three small integers."""
_WRITTEN = {
    "catboost": re.compile(rb"Branch: tags/v([0-9]+(?:\.[0-9]+)+)\n"),
    "xgboost": re.compile(rb'"version": ?\[([0-9]+, ?[0-9]+, ?[0-9]+)\]'),
}
"""The version in a booster's file, where it is written as text."""
_LIGHT = (2, 1, 1)
"""The first version of XGBoost that comes without code for graphics cards too, as `xgboost-cpu`."""

_VERSION = re.compile(r"[0-9][0-9A-Za-z.!+_-]*")


def requirements_of(
    source: Source, audit: Audit, told: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the requirements of a worker for this model, sorted: exact where a version is known.

    `told` are the versions that the user says (`[environment]`), above all others. Raises
    SourceError, naming all, where what the model says and what was recorded beside it disagree.
    """
    pins = _pins(source, audit, {_plain(name): v for name, v in (told or {}).items()})
    wanted = _OWN | {name: f"=={version}" for name, version in pins.items()}
    for name in named_boosters(audit):
        if not {name, f"{name}-cpu"} & wanted.keys():
            wanted[name] = ""
    for module, package in (*((name, name) for name in _BESIDE), *_PACKAGES.items()):
        if any(r.name.startswith(f"{module}.") for r in audit.names):
            wanted.setdefault(package, "")
    if "xgboost" in wanted and _is_light(wanted["xgboost"].removeprefix("==")):
        wanted["xgboost-cpu"] = wanted.pop("xgboost")
    for name, bound in _bounds(audit, pins.get("scikit-learn")).items():
        if name not in pins and (name in wanted or name not in _PACKAGES.values()):
            wanted[name] = bound
    if source.format == "joblib" and _starts_with(source.blob.path, b"\x04\x22\x4d\x18"):
        wanted["lz4"] = ""
    return tuple(sorted(name + version for name, version in wanted.items()))


def assumed(requirements: tuple[str, ...]) -> tuple[str, ...]:
    """Return the boosters' libraries of which nothing told the version."""
    return tuple(name for name in (*LIBRARIES, "xgboost-cpu") if name in requirements)


def named_boosters(audit: Audit) -> list[str]:
    """Return the boosters' libraries that opening the model needs."""
    return [
        b
        for b in LIBRARIES
        if audit.format == b or any(r.name.startswith(f"{b}.") for r in audit.names)
    ]


def _pins(source: Source, audit: Audit, told: dict[str, str]) -> dict[str, str]:
    """Return name → exact version: as told, else as the model itself says, else as recorded beside it."""
    kept = _KEPT | {package_of(r.name) for r in audit.names}
    kept |= {package for name in named_boosters(audit) for package in (name, f"{name}-cpu")}
    recorded = {n: v for n, v in _recorded(source) if n in kept}
    inside = dict(_inside(source, audit))
    drifts = [d for d in _drifts(recorded, inside) if d[0] not in told]
    if drifts:
        raise _disagreement(drifts)
    for name, version in inside.items():
        twin = f"{name}-cpu"  # the same library in another package
        recorded[twin if twin in recorded else name] = version
    return recorded | told


def package_of(name: str) -> str:
    """Return the package to which a dotted name belongs: mostly it has the name of its first part."""
    module = name.partition(".")[0]
    return _PACKAGES.get(module, _plain(module))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _recorded(source: Source) -> Iterator[tuple[str, str]]:
    for line in source.requirements:
        name, _, version = line.partition("==")
        version = version.partition(";")[0].strip()
        if _VERSION.fullmatch(version):
            yield _plain(name), version


def _inside(source: Source, audit: Audit) -> Iterator[tuple[str, str]]:
    """Yield what the model file says of the libraries that wrote it."""
    for name, version in audit.versions.items():
        if _VERSION.fullmatch(version):
            yield _plain(name), version
    for name in named_boosters(audit):
        if version := _written(source.blob.path, name):
            yield name, version


def _drifts(
    recorded: Mapping[str, str], inside: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield each library of which the file says another version than what lies beside it: both versions."""
    for name, version in inside.items():
        beside = recorded.get(name, recorded.get(f"{name}-cpu"))
        if beside is not None and _release(beside) != _release(version):
            yield name, version, beside


def _release(version: str) -> tuple[str, ...]:
    """Return a version without what names only another packing of it: 1.5, 1.5.0 and 1.5.0+cpu are one."""
    parts = version.partition("+")[0].split(".")
    while len(parts) > 1 and parts[-1] == "0":
        parts.pop()
    return tuple(parts)


def _disagreement(drifts: list[tuple[str, str, str]]) -> SourceError:
    said = "; ".join(
        f"{name} {version} wrote it, and {beside} is recorded beside it"
        for name, version, beside in drifts
    )
    pins = ", ".join(f'{name} = "{version}"' for name, version, _ in drifts)
    return SourceError(
        f"the model and its requirements disagree: {said}",
        hint="log it again from the environment that trained it, or say in cannery.toml which "
        f"version holds:\n[environment]\nversions = {{ {pins} }}",
    )


def _bounds(audit: Audit, scikit: str | None) -> dict[str, str]:
    """Return name → bound of versions, by what the pickle names and by the time of its scikit-learn."""
    numbers = tuple(int(n) for n in re.findall(r"\d+", scikit or "")[:2])
    bounds: dict[str, str] = {}
    if numbers:
        bounds |= next((then for latest, then in _TIMES.items() if numbers <= latest), {})
    names, numpy = [r.name for r in audit.names], bounds.get("numpy", "")
    if any(n.startswith(_NUMPY_2) for n in names):
        bounds["numpy"] = f">=2,{numpy}" if numpy.startswith("<2.") else ">=2"
    elif any(n.startswith(_NUMPY_1) for n in names) and not numpy.startswith("<1"):
        bounds["numpy"] = "<2"
    return bounds


def _written(path: Path, library: str) -> str:
    """Return the version of the library that wrote a booster; empty where it doesn't say."""
    data = path.read_bytes()
    if library == "xgboost" and (found := _XGBOOST.search(data)):
        return ".".join(str(part[0]) for part in found.groups())
    known = _WRITTEN[library].search(data) if library in _WRITTEN else None
    return re.sub(r", ?", ".", known[1].decode()) if known else ""


def _is_light(version: str) -> bool:
    """Whether XGBoost has a package without code for graphics cards: the same library, and a tenth of it."""
    numbers = [int(n) for n in re.findall(r"\d+", version)[:3]]
    return not version or tuple(numbers) >= _LIGHT


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(magic)) == magic
