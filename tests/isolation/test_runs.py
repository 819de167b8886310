"""Runs of literals, read at once: nothing differs from following each opcode by itself."""

from __future__ import annotations

import pickle
import pickletools
import random
from collections.abc import Callable
from typing import Any

import agreement
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cannery.audits import runs
from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.machine import Machine

FEW = Limits(opcodes=700, memo=250)
"""Bounds that are reached in the middle of runs."""


def _audited(limits: Limits) -> Callable[[], Any]:
    return lambda: Facts(Ledger(listing(), limits))


def _opened(limits: Limits) -> Callable[[], Any]:
    return lambda: agreement.Recording(agreement.NAMES, limits)


def alike(data: bytes, limits: Limits = agreement.LIMITS) -> None:
    """Check that a program leaves the same, whether its runs are read at once or not."""
    for domain in (_audited(limits), _opened(limits)):
        at_once = agreement.told(data, domain)
        with agreement.one_by_one():
            slowly = agreement.told(data, domain)
        assert slowly == at_once, data


@given(st.integers(0, 2**32), st.integers(0, 5), st.sampled_from([1 << 10, 1 << 14]))
@settings(max_examples=40)
def test_runs_are_read_as_their_opcodes_would_be(seed: int, protocol: int, block: int) -> None:
    """Values, memo, verdict, findings, offsets and the work that was counted: all is the same."""
    source = random.Random(seed)
    made = agreement.batch(source)
    before, runs._BLOCK = runs._BLOCK, block
    try:
        for data in agreement.pickled(made, protocol):
            for program in (data, pickletools.optimize(data)):
                alike(program)
                alike(program, FEW)
                for _ in range(3):
                    alike(agreement.mutated(program, source))
    finally:
        runs._BLOCK = before


@given(st.integers(0, 2**32), st.integers(0, 5))
@settings(max_examples=30)
def test_runs_are_opened_as_cpython_opens_them(seed: int, protocol: int) -> None:
    """Changed or not, what our machine accepts of a run is what CPython's unpicklers make of it."""
    source = random.Random(seed)
    for data in agreement.pickled(agreement.batch(source), protocol):
        assert agreement.check(data)
        for _ in range(3):
            agreement.check(agreement.mutated(data, source))


WORDS = [f"word {number}" for number in range(999)]
BATCHES: dict[str, Any] = {
    "vocabulary": {word: number for number, word in enumerate(WORDS)},
    "words": WORDS,
    "weights": {word: number / 7 for number, word in enumerate(WORDS)},
    "flags": dict.fromkeys(WORDS),
    "doubles": [number / 7 for number in range(999)],
    "integers": list(range(70_000, 70_999)),
    "umlauts": [word.replace("o", "ö") for word in WORDS],
}


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("kind", BATCHES)
def test_a_batch_of_a_pickler_is_read_at_once(kind: str, protocol: int) -> None:
    """These tests reach what they are about: of a batch, few opcodes are followed one by one."""
    data = pickle.dumps(BATCHES[kind], protocol)
    machine = Machine(data, 0, _opened(agreement.LIMITS)())
    taken: list[int] = []
    take = runs.take

    def noted(m: Machine, program: Any, at: int) -> int:
        end = take(m, program, at)
        taken.append(end - at)
        return end

    runs.take = noted
    try:
        machine.run()
    finally:
        runs.take = take
    assert machine.result == BATCHES[kind]
    assert sum(taken) > 0.9 * len(data)
