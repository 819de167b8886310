"""Boosters in pickles: their own buffers pass, and nothing else may stand in place of one."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from typing import Any

import catboost
import lightgbm
import native_models as n
import pickles as p
import pytest
import skops.io
import xgboost
from audit_sources import AuditBytes
from hostile_files import zipped

CLASSES = [("xgboost.core", "Booster"), ("lightgbm.basic", "Booster")]


def pushed(value: Any) -> bytes:
    """Push a literal of the type that a state holds."""
    match value:
        case bytearray():
            return b"\x96" + struct.pack("<Q", len(value)) + bytes(value)
        case bytes():
            return p.data(value)
        case str():
            return p.text(value)
        case int():
            return p.number(value)
    return p.NONE


def booster(home: str, name: str, state: dict[str, Any]) -> bytes:
    """Write an object of a class with a state."""
    items = b"".join(p.text(key) + pushed(value) for key, value in state.items())
    made = p.name(home, name) + p.EMPTY_TUPLE + b"\x81"
    return p.make_pickle(made, p.EMPTY_DICT, p.MARK, items, b"u", p.BUILD, protocol=5)


UBJSON = n.xgboost_models()["classes"].__getstate__()["handle"]
TEXT = n.lightgbm_models()["classes"].model_to_string()
LONG = n.lightgbm_models()["kinds"].model_to_string() + " " * 20_000
CBM = n.catboost_models()["classes"]
OLD = n.old_xgboost()
OFFSET = bytearray(b"CONFIG-offset:" + struct.pack("<q", len(OLD)) + OLD + b"{}")
CHILD = n.edited_document("classes", lambda parts: parts["tree"]["left_children"].insert(0, 999))

HONEST: list[tuple[str, str, dict[str, Any]]] = [
    ("xgboost.core", "Booster", {"handle": UBJSON}),
    ("xgboost.core", "Booster", {"handle": OFFSET}),
    ("lightgbm.basic", "Booster", {"handle": TEXT}),
    ("lightgbm.basic", "Booster", {"_handle": LONG}),
    ("catboost.core", "CatBoostClassifier", {"__model": CBM}),
    ("catboost.core", "CatBoostClassifier", {"iterations": 3}),
]

HOSTILE: list[tuple[str, str, dict[str, Any]]] = [
    ("xgboost.core", "Booster", {"handle": 0x7F000000}),
    ("xgboost.core", "Booster", {"handle": None}),
    ("xgboost.core", "Booster", {"handle": bytes(UBJSON)}),
    ("xgboost.core", "Booster", {"handle": bytearray(b"\x7fELF" + bytes(100_000))}),
    ("xgboost.core", "Booster", {"handle": bytearray(CHILD)}),
    ("xgboost.core", "Booster", {"handle": UBJSON + bytes(100_000)}),
    ("xgboost.core", "Booster", {"best_iteration": 3}),
    ("lightgbm.basic", "Booster", {"handle": 0x7F000000}),
    ("lightgbm.basic", "Booster", {"_handle": None, "handle": 0x7F000000}),
    ("lightgbm.basic", "Booster", {"_handle": "tree\n", "handle": "tree\n"}),
    ("lightgbm.basic", "Booster", {"handle": "include=/etc/passwd\n"}),
    ("lightgbm.basic", "Booster", {"handle": LONG.replace("num_leaves=", "num_leaves=9")}),
    ("catboost.core", "CatBoostClassifier", {"__model": b"CBM2"}),
    ("catboost.core", "CatBoostClassifier", {"__model": CBM[:2000]}),
    ("catboost.core", "CatBoostClassifier", {"__model": 0x7F000000}),
]


@pytest.mark.parametrize(("home", "name", "state"), HONEST)
def test_a_buffer_of_the_library_is_safe(
    home: str, name: str, state: dict[str, Any], audit_bytes: AuditBytes
) -> None:
    """Short and long, under the attribute of either generation."""
    found = audit_bytes(booster(home, name, state))
    assert (found.verdict, found.findings) == ("safe", ())


@pytest.mark.parametrize(("home", "name", "state"), HOSTILE)
def test_what_is_no_buffer_of_the_library_is_unsafe(
    home: str, name: str, state: dict[str, Any], audit_bytes: AuditBytes
) -> None:
    """A number that would become a pointer, another type, another format, none, or two."""
    found = audit_bytes(booster(home, name, state))
    assert found.verdict == "unsafe"
    assert [f.rule for f in found.findings] == ["hostile-state"]


SKOPS = [
    xgboost.XGBClassifier(n_estimators=2).fit(n.X, n.Y),
    lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(n.X, n.Y),
    catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False).fit(n.X, n.Y),
]


@pytest.mark.parametrize("model", SKOPS, ids=lambda model: type(model).__name__)
def test_a_buffer_in_a_skops_file_is_judged_too(model: Any, audit_bytes: AuditBytes) -> None:
    """It is a member of the archive there; one that was cut is refused."""
    data = skops.io.dumps(model)
    found = audit_bytes(data, "skops")
    assert (found.findings, found.verdict) == ((), "safe")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    cut = zipped(*((name, part[:-9] if name.endswith(".bin") else part) for name, part in parts))
    if any(name.endswith(".bin") for name, _ in parts):
        assert [f.rule for f in audit_bytes(cut, "skops").findings] == ["hostile-state"]


@pytest.mark.parametrize(("home", "name"), CLASSES)
def test_a_buffer_in_the_form_of_older_protocols_is_judged_too(
    home: str, name: str, audit_bytes: AuditBytes
) -> None:
    """Protocol 2 writes a bytearray as a call, and its bytes as Latin-1 text."""
    good = UBJSON if home == "xgboost.core" else LONG
    for value, verdict in ((good, "safe"), (bytearray(b"\x80\x05" * 20_000), "unsafe")):
        state = pickle.dumps({"handle": value}, 2)[2:-1]
        data = b"\x80\x02" + p.name(home, name) + b")\x81" + state + b"b."
        assert audit_bytes(data).verdict == verdict
