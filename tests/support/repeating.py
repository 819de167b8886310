"""Models with rows of values that are like each other, and what an audit makes of changed files of them."""

from __future__ import annotations

import functools
import io
import pickle
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)

from cannery.audits import pickles
from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.repeats.following import Repeats

NAMES = ("forest", "outputs", "extra", "stages", "isolation", "stumps", "histograms")


@functools.cache
def models() -> dict[str, Any]:
    """Return small models of many trees."""
    source = np.random.default_rng(0)
    x, y = source.normal(size=(60, 5)), source.integers(0, 3, 60)
    twice = np.column_stack([y, y > 0])
    return {
        "forest": RandomForestClassifier(40, max_depth=3, random_state=0).fit(x, y),
        "outputs": RandomForestClassifier(24, max_depth=2, random_state=0).fit(x, twice),
        "extra": ExtraTreesRegressor(30, max_depth=2, random_state=0).fit(x, y),
        "stages": GradientBoostingClassifier(n_estimators=12, max_depth=2).fit(x, y),
        "isolation": IsolationForest(n_estimators=30, max_samples=9, random_state=0).fit(x),
        "stumps": AdaBoostClassifier(n_estimators=24, random_state=0).fit(x, y > 0),
        "histograms": HistGradientBoostingClassifier(
            max_iter=40, max_leaf_nodes=4, min_samples_leaf=5
        ).fit(x, y > 0),
    }


FORMS = ("2.pickle", "3.pickle", "4.pickle", "5.pickle", "5.joblib")


def saved(model: Any, form: str) -> bytes:
    """Return a model in one of the forms."""
    if form.endswith("pickle"):
        return pickle.dumps(model, int(form[0]))
    stream = io.BytesIO()
    joblib.dump(model, stream)
    return stream.getvalue()


@contextmanager
def one_by_one() -> Iterator[None]:
    """Let the audit follow every value by itself."""
    repeats = Facts.repeats
    Facts.repeats = lambda self: None  # type: ignore[method-assign,assignment,return-value]
    try:
        yield
    finally:
        Facts.repeats = repeats  # type: ignore[method-assign]


@contextmanager
def counted() -> Iterator[list[int]]:
    """Yield where each value begins that is told at once."""
    taken: list[int] = []
    repeat = Repeats._repeat

    def noted(self: Repeats, m: Any, row: Any, at: int) -> int:
        end = repeat(self, m, row, at)
        if end > at:
            taken.append(at)
        return end

    Repeats._repeat = noted  # type: ignore[method-assign]
    try:
        yield taken
    finally:
        Repeats._repeat = repeat  # type: ignore[method-assign]


def told(data: bytes, form: str, limits: Limits) -> tuple[Any, ...]:
    """Return all that an audit says of a file, and the work that it counted."""
    ledger = Ledger(listing(), limits)
    audit = pickles.audit_joblib if form.endswith("joblib") else pickles.audit_pickle
    audit(data, ledger)
    found = ledger.verdict(), ledger.findings(), ledger.names(), ledger.versions
    return (*found, ledger.opcodes)


def check(data: bytes, form: str, limits: Limits = Limits()) -> str:  # noqa: B008
    """Return the verdict on a file, which is the same with every value followed by itself, as is all else."""
    at_once = told(data, form, limits)
    with one_by_one():
        slowly = told(data, form, limits)
    assert at_once == slowly, data
    verdict: str = at_once[0]
    return verdict


def mutated(data: bytes, source: random.Random) -> bytes:
    """Return a file with a few places changed behind its first values."""
    changed = bytearray(data)
    for _ in range(source.randint(1, 2)):
        at = source.randrange(len(changed) // 4, len(changed))
        source.choice(_CHANGES)(changed, at, source)
    return bytes(changed)


def _byte(data: bytearray, at: int, source: random.Random) -> None:
    data[at] = source.randrange(256)


def _bit(data: bytearray, at: int, source: random.Random) -> None:
    data[at] ^= 1 << source.randrange(8)


def _cut(data: bytearray, at: int, source: random.Random) -> None:
    del data[at : at + source.randint(1, 9)]


def _double(data: bytearray, at: int, source: random.Random) -> None:
    data[at:at] = data[at : at + source.randint(1, 40)]


def _opcode(data: bytearray, at: int, source: random.Random) -> None:
    data[at:at] = source.choice(b"()N]}asbR\x81\x94\x85\x86\x87te\x88\x89Khj0").to_bytes(1, "big")


def _number(data: bytearray, at: int, source: random.Random) -> None:
    if (found := data.find(b"K", at)) > 0:
        data[found + 1 : found + 2] = bytes([source.choice([0, 1, 2, 3, 5, 7, 9, 255])])


def _near(data: bytearray, at: int, source: random.Random) -> None:
    if (found := data.find(b"h", at)) > 0:
        data[found + 1 : found + 2] = bytes([source.randrange(256)])


def _far(data: bytearray, at: int, source: random.Random) -> None:
    """Let a value be gotten from anywhere, from the inside of another tree for example."""
    old = source.choice([b"N", b"h", b"j"])
    if (found := data.find(old, at)) > 0:
        size = {b"N": 1, b"h": 2, b"j": 5}[old]
        data[found : found + size] = b"j" + struct.pack("<I", source.randrange(3000))


def _swap(data: bytearray, at: int, source: random.Random) -> None:
    other, size = source.randrange(len(data) // 4, len(data)), source.randint(1, 400)
    here = bytes(data[at : at + size])
    data[at : at + size] = data[other : other + size]
    data[other : other + size] = here


_CHANGES = (_byte, _bit, _bit, _cut, _double, _opcode, _number, _number, _near, _far, _far, _swap)
