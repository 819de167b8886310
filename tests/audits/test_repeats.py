"""Values that are told at once since they are like the one before: nothing differs from following each."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import hostile
import pytest
import repeating
from estimators import fitted
from hypothesis import given, settings
from hypothesis import strategies as st

from cannery.audits import natives
from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.machine import Machine
from cannery.audits.repeats import alike
from cannery.bounds import trees
from cannery.bounds.problems import problem_of
from cannery.bounds.things import Parts

CASES = [(name, form) for name in repeating.NAMES for form in repeating.FORMS]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_most_trees_are_told_at_once(name: str, form: str) -> None:
    """These tests reach what they are about, and an honest model is safe in both ways."""
    data = repeating.saved(repeating.models()[name], form)
    with repeating.counted() as taken:
        assert repeating.check(data, form) == "safe"
    trees = len(getattr(repeating.models()[name], "estimators_", range(40)))
    assert len(taken) >= trees / 2


@given(st.sampled_from(CASES), st.integers(0, 2**32))
@settings(max_examples=25)
def test_changed_trees_are_judged_as_when_followed(case: tuple[str, str], seed: int) -> None:
    """Verdict, findings, offsets, names, versions and work: all is the same of a changed file."""
    name, form = case
    data, source = repeating.saved(repeating.models()[name], form), random.Random(seed)
    for _ in range(3):
        repeating.check(repeating.mutated(data, source), form)


@given(st.sampled_from(CASES), st.integers(200, 12_000), st.integers(200, 1_500))
@settings(max_examples=20)
def test_bounds_are_reached_at_the_same_place(
    case: tuple[str, str], opcodes: int, memo: int
) -> None:
    """A bound that falls into a row of trees ends the audit as it does without rows."""
    name, form = case
    data = repeating.saved(repeating.models()[name], form)
    repeating.check(data, form, Limits(opcodes=opcodes, memo=memo))


def _nodes(data: bytes, tree: Any) -> int:
    """Return where the nodes of a tree stand in a file."""
    found = data.find(tree.tree_.__getstate__()["nodes"].tobytes())
    assert found > 0
    return found


@pytest.mark.parametrize("form", ["3.pickle", "5.pickle", "5.joblib"])
@pytest.mark.parametrize(
    ("place", "number", "told"),
    [
        (0, 10_000, "child"),
        (0, 0, "child"),
        (8, -7, "child"),
        (16, 99, "column"),
    ],
)
def test_a_bad_node_in_a_late_tree_is_found(form: str, place: int, number: int, told: str) -> None:
    """One node of one tree of a row is enough, wherever it stands, and is named by its own offset."""
    model = repeating.models()["forest"]
    data = bytearray(repeating.saved(model, form))
    at = _nodes(bytes(data), model.estimators_[31]) + place
    data[at : at + 8] = number.to_bytes(8, "little", signed=True)
    with repeating.counted() as taken:
        assert repeating.check(bytes(data), form) == "unsafe"
    assert len(taken) > 20
    (finding,) = repeating.told(bytes(data), form, Limits())[1]
    assert finding.rule == "hostile-native"
    assert told in finding.message


def test_hostile_files_are_judged_as_when_followed(tmp_path: Path) -> None:
    """All is the same of every hostile pickle, read as a plain one and as one of joblib."""
    for _, make in hostile.CASES:
        data = make(tmp_path / "owned")
        for form in ("2.pickle", "5.joblib"):
            repeating.check(data, form)


ENSEMBLES = (
    "AdaBoostRegressor", "BaggingClassifier", "CountVectorizer", "ExtraTreesClassifier",
    "GradientBoostingRegressor", "KNeighborsClassifier",
    "OneVsRestClassifier", "RandomForestRegressor", "RandomTreesEmbedding", "StackingClassifier",
    "VotingClassifier",
)  # fmt: skip


@pytest.mark.parametrize("name", ENSEMBLES)
def test_honest_models_are_judged_as_when_followed(name: str) -> None:
    """All is the same of a model that holds others, in every form."""
    for form in repeating.FORMS:
        assert repeating.check(repeating.saved(fitted(name)[name], form), form) == "safe"


@pytest.mark.parametrize("form", repeating.FORMS)
def test_what_stands_in_a_repetition_can_be_gotten_behind_it(form: str) -> None:
    """A tree, and what is in it, that the file comes back to later is there, and is what it would be."""
    model = repeating.models()["forest"]
    late = model.estimators_[25]
    for shared, verdict in (([model, late], "safe"), ([model, late.tree_, vars(late)], "review")):
        with repeating.counted() as taken:
            assert repeating.check(repeating.saved(shared, form), form) == verdict
        assert len(taken) > 20


def test_a_second_state_of_a_repeated_tree_is_followed() -> None:
    """One tree of a row that gets another state is judged with that."""
    model = repeating.models()["forest"]
    data = repeating.saved(model, "5.pickle")
    late = data.index(b"h\x08)\x81", _nodes(data, model.estimators_[30]))
    changed = data[:late] + b"}b" + data[late:]
    frame = data.index(b"\x95") + 1
    size = int.from_bytes(data[frame : frame + 8], "little") + 2
    changed = changed[:frame] + size.to_bytes(8, "little") + changed[frame + 8 :]
    with repeating.counted() as taken:
        assert repeating.check(changed, "5.pickle") == "unsafe"
    assert len(taken) > 15
    rules = [finding.rule for finding in repeating.told(changed, "5.pickle", Limits())[1]]
    assert "foreign-state" in rules


def test_a_row_is_compared_by_all_that_the_rules_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule for trees that looked at one more attribute would have to be known to what judges rows."""
    seen: set[str] = set()
    find, item = Parts.get, Parts.__getitem__

    def noted_find(self: Parts, key: str, default: Any = None) -> Any:
        seen.add(key)
        return find(self, key, default)

    def noted_item(self: Parts, key: str) -> Any:
        seen.add(key)
        return item(self, key)

    monkeypatch.setattr(Parts, "get", noted_find)
    monkeypatch.setattr(Parts, "__getitem__", noted_item)
    ledger = Ledger(listing(), Limits())
    with repeating.one_by_one():
        Machine(repeating.saved(repeating.models()["forest"], "5.pickle"), 0, Facts(ledger)).run()
    judged = [m for m in ledger.natives if m.canonical.startswith((trees.HOLDERS, trees.TREE))]
    assert [problem_of(natives._thing(made)) for made in judged] == [None] * len(judged)
    assert len(judged) > 40
    assert "tree_" in seen
    assert seen <= {*alike.COMPARED, *alike.MEASURED}
