"""The own files of boosting libraries: whole ones are safe, those whose numbers lead astray are not."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import native_models as n
import pytest
from audit_sources import AuditBytes

from cannery.audits.audit import audit_bytes as judge
from cannery.audits.trees.flatbuffers import Table
from cannery.audits.trees.ubjson import read_ubjson
from cannery.audits.trees.walks import BadModelError
from cannery.sources.sniff import sniff_data

HONEST = n.honest_files()


@pytest.mark.parametrize("name", HONEST)
def test_a_file_of_the_library_is_safe(name: str, audit_bytes: AuditBytes) -> None:
    """Every kind of booster in every form is told by content, and passes."""
    kind = sniff_data(HONEST[name], name)
    assert kind == name.partition(" ")[0]
    found = audit_bytes(HONEST[name], kind)
    assert (found.findings, found.verdict) == ((), "safe")


def _text(name: str, pattern: str, new: str) -> bytes:
    """Return a model of LightGBM with the first fit of a pattern replaced, its size kept true."""
    text = n.lightgbm_models()[name].model_to_string()
    changed = re.sub(pattern, new, text, count=1)
    assert changed != text
    if re.search(pattern, text).start() > text.index("\nTree=0"):  # type: ignore[union-attr]
        size = re.search(r"tree_sizes=(\d+)", text)[1]  # type: ignore[index]
        grown = int(size) + len(changed) - len(text)
        changed = changed.replace(f"tree_sizes={size}", f"tree_sizes={grown}", 1)
    return changed.encode()


def _put(place: str, key: str, index: int, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(parts: dict[str, Any]) -> None:
        parts[place][key][index] = value

    return edit


def _set(place: str, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda parts: parts[place].update({key: value})


def _drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda parts: parts["tree"].pop(key)


def _widen(tree: dict[str, Any], width: int) -> None:
    """Let each node of a tree have as many weights."""
    tree["tree_param"]["size_leaf_vector"] = str(width)
    tree["base_weights"] *= width


EDITS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "child outside": ("classes", _put("tree", "left_children", 0, 999)),
    "child before the first": ("classes", _put("tree", "left_children", 0, -7)),
    "child is the root": ("classes", _put("tree", "left_children", 1, 0)),
    "child shared": ("classes", _put("tree", "left_children", 0, 2)),
    "one child": ("classes", _put("tree", "right_children", 0, -1)),
    "feature outside": ("classes", _put("tree", "split_indices", 0, 6)),
    "feature below": ("classes", _put("tree", "split_indices", 0, -1)),
    "feature a fraction": ("classes", _put("tree", "split_indices", 0, 0.5)),
    "list too short": ("classes", lambda p: p["tree"]["split_conditions"].pop()),
    "list missing": ("classes", _drop("default_left")),
    "no list": ("classes", _set("tree", "parents", "text")),
    "nested list": ("classes", _put("tree", "left_children", 0, [1, 2])),
    "weights too few": ("classes", lambda p: p["tree"]["base_weights"].pop()),
    "nodes said": ("classes", lambda p: p["tree"]["tree_param"].update(num_nodes="99")),
    "nodes none": ("classes", lambda p: p["tree"]["tree_param"].update(num_nodes="0")),
    "nodes negative": ("classes", lambda p: p["tree"]["tree_param"].update(num_nodes="-1")),
    "nodes a power": ("classes", lambda p: p["tree"]["tree_param"].update(num_nodes="9" * 99)),
    "trees said": ("classes", lambda p: p["model"]["gbtree_model_param"].update(num_trees="2")),
    "output outside": ("classes", _put("model", "tree_info", 0, 3)),
    "rounds outside": ("classes", _put("model", "iteration_indptr", -1, 99)),
    "rounds backwards": ("classes", _put("model", "iteration_indptr", 1, 9)),
    "columns none": ("classes", lambda p: p["learner"]["learner_model_param"].update(num_feature="0")),
    "booster unknown": ("classes", _set("booster", "name", "gbother")),
    "no trees": ("classes", _set("model", "trees", None)),
    "tree no object": ("classes", _put("model", "trees", 0, 1)),
    "drops too few": ("dart", lambda p: p["booster"]["weight_drop"].pop()),
    "factors too few": ("linear", lambda p: p["model"]["weights"].pop()),
    "kinds outside": ("kinds", _put("tree", "categories_segments", 0, 9999)),
    "kinds too long": ("kinds", _put("tree", "categories_sizes", 0, 9999)),
    "kinds of another node": ("kinds", _put("tree", "categories_nodes", 0, 999)),
    "outputs without trees": (
        "classes",
        lambda p: p["learner"]["learner_model_param"].update(num_class="1000000000"),
    ),
    "kind too large": ("kinds", _put("tree", "categories", 0, 1 << 40)),
    "kind unlisted": ("kinds", lambda p: p["tree"]["categories_nodes"].pop()),
    "names outside": ("kinds", lambda p: p["model"]["cats"]["enc"][0]["offsets"].append(999)),
    "order outside": ("kinds", lambda p: p["model"]["cats"]["sorted_idx"].append(999)),
    "parent outside": ("classes", _put("tree", "parents", 1, 999)),
    "parent that is none": ("classes", _put("tree", "parents", 1, 2147483647)),
    "tree twice": ("classes", _set("tree", "id", 1)),
    "vectors for one output": ("classes", lambda p: _widen(p["tree"], 2)),
    "vector's leaf outside": ("vectors", _put("tree", "right_children", -1, 999)),
    "vector's weights too few": ("vectors", lambda p: p["tree"]["leaf_weights"].pop()),
}  # fmt: skip

OLD: dict[str, dict[str, Any]] = {
    "child outside": {"left": 3},
    "child is the root": {"left": 0},
    "child shared": {"left": 2},
    "one child": {"right": -1},
    "feature outside": {"feature": 2},
    "feature outside, with a direction": {"feature": 2 | 1 << 31},
    "deleted and walked": {"feature": 0xFFFFFFFF},
    "nodes said": {"nodes": 1 << 30},
    "nodes none": {"nodes": 0},
    "nodes negative": {"nodes": -1},
    "trees said": {"trees": 1 << 30},
    "output outside": {"output": 1},
    "columns too many": {"columns": 0xFFFFFFFF},
    "bytes behind": {"tail": b"more"},
    "drops too many": {"booster": "dart", "drops": 2},
    "factors too few": {"booster": "gblinear", "weights": 2},
    "factors too many": {"booster": "gblinear", "weights": 1 << 60},
    "booster unknown": {"booster": "gbother"},
}

TEXTS: dict[str, tuple[str, str, str]] = {
    "child outside": ("classes", r"left_child=\d+", "left_child=99"),
    "child is the root": ("classes", r"left_child=\d+", "left_child=0"),
    "leaf outside": ("classes", r"right_child=(.*) -\d+\n", r"right_child=\1 -99\n"),
    "leaf twice": ("classes", r"right_child=(.*) -\d+\n", r"right_child=\1 -1\n"),
    "feature outside": ("classes", r"split_feature=\d+", "split_feature=6"),
    "feature below": ("classes", r"split_feature=\d+", "split_feature=-1"),
    "number as C reads it": ("classes", r"split_feature=\d+", "split_feature=0_0"),
    "leaves said": ("classes", r"num_leaves=\d+", "num_leaves=999999999"),
    "leaves none": ("classes", r"num_leaves=\d+", "num_leaves=0"),
    "values too few": ("classes", r"leaf_value=\S+ ", "leaf_value="),
    "thresholds too few": ("classes", r"threshold=\S+ ", "threshold="),
    "list twice": ("classes", r"(left_child=.*\n)", r"\1\1"),
    "size of a tree": ("classes", r"tree_sizes=\d+", "tree_sizes=9"),
    "size negative": ("classes", r"tree_sizes=\d+", "tree_sizes=-9"),
    "rounds": ("classes", r"num_tree_per_iteration=3", "num_tree_per_iteration=2"),
    "columns none": ("classes", r"max_feature_idx=\d+", "max_feature_idx=0"),
    "columns too many": ("classes", r"max_feature_idx=\d+", "max_feature_idx=4294967295"),
    "no end": ("classes", "end of trees", "end of nothing"),
    "list of kinds outside": ("kinds", r"num_cat=\d+", "num_cat=0"),
    "kinds too few": ("kinds", r"cat_threshold=.*\n", "cat_threshold=\n"),
    "kinds backwards": ("kinds", r"cat_boundaries=0", "cat_boundaries=9"),
    "factors too few": ("linear", r"num_features=\d+", "num_features=5"),
    "classes said": ("classes", r"num_class=3", "num_class=9999"),
    "classes of the objective": ("classes", r"num_class:3", "num_class:9999"),
    "classes of the objective twice": ("classes", r"num_class:3", "num_class:3 num_class:9"),
    "classes of none": (
        "classes",
        r"objective=\S+ num_class:3",
        "objective=multiclassova num_class:9",
    ),
    "number that is none": ("classes", r"leaf_weight=\S+", "leaf_weight=x"),
    "number as no decimal": ("classes", r"internal_value=\S+", "internal_value=0x10"),
    "gains too few": ("classes", r"split_gain=\S+ ", "split_gain="),
    "rate that is none": ("classes", r"shrinkage=\S+", "shrinkage="),
    "lines behind the end": ("classes", r"split_gain=.*\n", "\n"),
    "line that is no list": ("classes", r"split_gain=.*\n", "split_gain\n"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_document_that_leads_astray_is_not_safe(name: str, audit_bytes: AuditBytes) -> None:
    """Children, features, counts and categories of XGBoost's trees stay within what there is."""
    found = audit_bytes(n.edited_document(*EDITS[name]), "xgboost")
    assert found.verdict in ("unsafe", "unreadable")


@pytest.mark.parametrize("name", OLD)
def test_an_old_model_that_leads_astray_is_not_safe(name: str, audit_bytes: AuditBytes) -> None:
    """The same of the binary form."""
    assert audit_bytes(n.old_xgboost(**OLD[name]), "xgboost").verdict in ("unsafe", "unreadable")


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_leads_astray_is_not_safe(name: str, audit_bytes: AuditBytes) -> None:
    """The same of LightGBM's text."""
    assert audit_bytes(_text(*TEXTS[name]), "lightgbm").verdict in ("unsafe", "unreadable")


@pytest.mark.parametrize("name", n.catboost_models())
def test_a_model_of_catboost_with_one_number_changed_never_leads_astray(name: str) -> None:
    """Offsets, counts and indices are the first thing to break: most edits are refused, none is a traceback."""
    data = n.catboost_models()[name]
    chance = random.Random(0)
    refused = 0
    for _ in range(150):
        block = bytearray(data)
        at = chance.randrange(8, 120) if chance.random() < 0.5 else chance.randrange(len(block))
        block[at] ^= 1 << chance.randrange(8)
        refused += judge(bytes(block), "catboost").verdict != "safe"
    assert refused > 20


def test_leaves_without_steps_are_not_safe() -> None:
    """CatBoost takes a model with a list of leaves for one that has steps towards them."""
    data = bytearray(n.catboost_models()["classes"])
    trees = Table.root(bytes(data[8:])).table(1)
    assert trees is not None
    at = data.index(bytes(4), 8 + trees._target(11))  # type: ignore[operator]
    data[at] = 4
    assert judge(bytes(data), "catboost").verdict == "unsafe"


@pytest.mark.parametrize("name", [h for h in HONEST if "borders" not in h])
def test_a_damaged_model_is_a_verdict_and_no_traceback(name: str) -> None:
    """Bytes flipped, cut off and doubled in every form."""
    data, kind = HONEST[name], sniff_data(HONEST[name], name)
    chance = random.Random(1)
    for _ in range(12):
        at, to = sorted(chance.randrange(len(data)) for _ in range(2))
        for block in (data[:at], data[:at] + data[to:], data[:to] + data[at:]):
            assert judge(block, kind).verdict in ("safe", "unsafe", "unreadable")
        flipped = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        assert judge(flipped, kind).verdict in ("safe", "unsafe", "unreadable")
    assert judge(data[: len(data) // 2], kind).verdict in ("unsafe", "unreadable")


@pytest.mark.parametrize(
    "data",
    [
        b"{" + b"U\x01a{" * 200,
        b"{U\x01a[$d#L" + b"\x7f" * 8,
        b"{U\x01a[#L" + b"\x7f" * 8,
        b"{U\x01a[$[#L" + b"\x00" * 8,
        b"{U\xff",
        b"{L" + b"\xff" * 8,
        b"{U\x01aZU\x01aZ}",
        b"{}more",
    ],
)
def test_hostile_ubjson_is_refused(data: bytes) -> None:
    """Depth, lengths and doubles have bounds."""
    with pytest.raises(BadModelError):
        read_ubjson(data)


def test_ubjson_reads_every_kind_of_value() -> None:
    """Numbers, texts, constants, and the three ways to write an array."""
    data = (
        b"{U\x01ai\xffU\x01bSU\x02xyU\x01cTU\x01d[$U#U\x02\x05\x06U\x01e[#U\x01ZU\x01f[NI\x01\x00]}"
    )
    found = read_ubjson(data)
    assert found.pop("d").tolist() == [5, 6]
    assert found == {"a": -1, "b": "xy", "c": True, "e": [None], "f": [256]}


def test_a_native_file_as_a_user_names_it(tmp_path: Path) -> None:
    """By path, whatever it is called."""
    from cannery.audits.audit import audit
    from cannery.sources.fetch import fetch

    path = tmp_path / "model.pkl"
    path.write_bytes(HONEST["lightgbm classes"])
    assert audit(fetch(str(path), staging=tmp_path)).format == "lightgbm"
