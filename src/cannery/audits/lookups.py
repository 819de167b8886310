"""What a pickle may look up inside an object or a class: a few pairs, and nothing else."""

from __future__ import annotations

import re

from cannery.audits.arguments import Call
from cannery.audits.listing import Entry
from cannery.audits.values import Made, Name, Value, describe

_TEXT_METHODS = frozenset(
    {"capitalize", "casefold", "lower", "lstrip", "rsplit", "rstrip", "split", "splitlines",
     "strip", "swapcase", "title", "upper"}
)  # fmt: skip
_PATTERN_METHODS = frozenset({"findall", "fullmatch", "match", "search", "split"})

_ARRAY_METHODS = frozenset(
    {"all", "any", "argmax", "argmin", "argsort", "astype", "clip", "conj", "copy", "cumprod", "cumsum",
     "diagonal", "flatten", "max", "mean", "min", "nonzero", "prod", "ravel", "reshape", "round", "squeeze",
     "std", "sum", "swapaxes", "tolist", "transpose", "var"}
)  # fmt: skip

_METHODS = {
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.": frozenset({"_raw_predict"}),
    "builtins.str": _TEXT_METHODS,
    "numpy.ndarray": _ARRAY_METHODS,
    "re._compile": _PATTERN_METHODS,
    "scipy.stats._kde.gaussian_kde": frozenset({"scotts_factor", "silverman_factor"}),
    "scipy.stats._discrete_distns.": frozenset({"_entropy"}),
    "scipy.stats._distn_infrastructure.rv_sample": frozenset({"_entropy"}),
}
"""A class, or where classes begin → what may be looked up in it: tokenizers are such methods, and scipy
and boosting that scored itself keep one in their state."""


_BOUND = Entry("types.MethodType", frozenset({"function"}), "python")


def builtin(c: Call) -> Value:
    """Judge cloudpickle's `_builtin_type("MethodType")`, by which it binds a method again."""
    match c.items:
        case ("MethodType",):
            return Name("types", "MethodType", c.offset, _BOUND)
        case ("SimpleNamespace" as kind,):
            return Name("types", kind, c.offset, c.ledger.listing.find("types", kind))
    return c.refuse("for another type than that of methods")


def bound(c: Call) -> Value:
    """Judge `MethodType(randint_gen._entropy, distribution)`: what `attribute` lets pass, in other words."""
    match c.items:
        case (Name(entry=Entry(table="scipy")) as function, Made() as owner) if (
            function.qualname.endswith("._entropy") and owner.canonical.startswith("scipy.stats.")
        ):
            c.ledger.use(function, "reference")
            return Made(c.name, c.items)
    return c.refuse("with a method that is not listed")


_ZONE = Entry("zoneinfo.ZoneInfo._unpickle", frozenset({"function"}), "python")


def zone(c: Call) -> Value:
    """Judge how a zone of time is made again."""
    match c.items:
        case (str() as key, bool() | 0 | 1) if is_zone(key):
            return Made(c.name)
    return c.refuse("with something that is no name of a zone")


def is_zone(key: str) -> bool:
    """Return whether a text is the name of a zone of time, and no path."""
    return bool(re.fullmatch(r"[A-Za-z][\w+-]*(/[A-Za-z][\w+-]*)*", key)) and key[:8] != "dateutil"


def attribute(c: Call) -> Value:
    """Judge `getattr(owner, name)`; returns what stands for the method."""
    match c.items:
        case (Name(canonical="zoneinfo.ZoneInfo") as zone, "_unpickle"):
            return Name(zone.module, "ZoneInfo._unpickle", c.offset, _ZONE)
        case (Name() as owner, str() as method) if entry := _listed(c, owner, method):
            return Name(owner.module, f"{owner.qualname}.{method}", c.offset, entry)
        case (Made() | Name() as owner, str() as method):
            for prefix, methods in _METHODS.items():
                same = (
                    owner.canonical.startswith(prefix)
                    if prefix[-1] == "."
                    else owner.canonical == prefix
                )
                if same and method in methods:
                    return Made(c.name, c.items)
    return c.refuse(f"with {', '.join(map(describe, c.items[:9]))[:200]}")


def _listed(c: Call, owner: Name, method: str) -> Entry | None:
    """Return the row of a method of a class, as later protocols name it."""
    module, _, cls = owner.canonical.rpartition(".")
    entry = c.ledger.listing.find(module, f"{cls}.{method}")
    return entry if entry and "reference" in entry.roles else None
