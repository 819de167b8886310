"""The machine that opens models beside CPython's unpicklers: what ours accepts, they read in the same way.

`tools/fuzz_machine.py` does the same for as long as one likes.
"""

from __future__ import annotations

import random

import agreement
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32)


@given(SEEDS, st.integers(0, 5))
@settings(max_examples=300)
def test_what_picklers_write_is_opened_as_cpython_opens_it(seed: int, protocol: int) -> None:
    """Objects that share and contain each other come back with the same types, values and sharing."""
    for data in agreement.pickled(agreement.graph(random.Random(seed)), protocol):
        assert agreement.check(data, agreement.NUMPY), data


@given(SEEDS)
@settings(max_examples=1500)
def test_random_programs_are_refused_or_read_alike(seed: int) -> None:
    """A program of random opcodes that our machine accepts is one that CPython accepts."""
    agreement.check(agreement.program(random.Random(seed)))


@given(SEEDS, st.integers(0, 5))
@settings(max_examples=300)
def test_changed_pickles_are_refused_or_read_alike(seed: int, protocol: int) -> None:
    """A pickle with a few bytes changed that our machine accepts is one that CPython accepts."""
    source = random.Random(seed)
    for data in agreement.pickled(agreement.graph(source, numpy=False), protocol):
        for _ in range(3):
            agreement.check(agreement.mutated(data, source))


def test_these_tests_reach_what_they_are_about() -> None:
    """Of random programs and changed pickles, a fair part is accepted: they are not all trivially refused."""
    source = random.Random(5)
    accepted = sum(agreement.check(agreement.program(source)) for _ in range(1000))
    assert accepted > 20
    data = [d for p in range(6) for d in agreement.pickled([1, "a", (2.5, None), {"k": {b"b"}}], p)]
    changed = (agreement.mutated(source.choice(data), source) for _ in range(1000))
    assert sum(agreement.check(program) for program in changed) > 50


SHARED = [1]
OTHERS = (
    ([SHARED, SHARED], [[1], [1]]),
    ([1.0], [1]),
    ([True], [1]),
    ([0.0], [-0.0]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    (np.zeros(2), np.zeros((2, 1))),
    ({1, "a"}, {1, "b"}),
)


@pytest.mark.parametrize(("left", "right"), OTHERS)
def test_the_comparison_tells_graphs_apart(left: object, right: object) -> None:
    """Sharing, types, signs, order and shapes count."""
    assert agreement.difference(left, left) is None
    assert agreement.difference(left, right) is not None
