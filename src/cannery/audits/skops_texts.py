"""The JSON of skops files: their schema, and the values that stand in it as texts."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from cannery.audits.ledger import Ledger
from cannery.audits.values import Value

MADE_BY = {
    "LossNode": ("sklearn._loss._loss.Cy", "sklearn.linear_model._sgd_fast."),
    "TreeNode": ("sklearn.tree._tree.Tree",),
}
"""Loader that calls a function → where the names of those begin that honest files give it."""


class OddNodeError(Exception):
    """A node that skops does not write."""


def read_schema(data: bytes, ledger: Ledger) -> dict[str, Any]:
    """Return the schema; raises OddNodeError, BrokenProgramError, and what Python's reader of JSON raises.

    Every value in it is as much work, and takes as much memory, as an opcode of a pickle.
    """
    ledger.spend(sum(map(data.count, (b",", b"[", b"{"))))

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            ledger.find("duplicate-key", "unsafe", "an object of the schema has one key twice")
        return found

    schema = _plain(data)
    if schema is None:
        schema = json.loads(data.decode("utf-8"), object_pairs_hook=pairs)
    if not isinstance(schema, dict):
        raise OddNodeError("the schema is no object")
    return schema


def _plain(data: bytes) -> Any:
    """Return a document that is what its content would be written as, but for blanks; None for any other.

    With a key twice it would not be, so the quick reader is enough.
    """
    try:
        found = msgspec.json.decode(data)
        same = msgspec.json.encode(found) == msgspec.json.format(data, indent=-1)
    except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None
    return found if same else None


def scalar(content: str) -> Value:
    """Return what a JsonNode holds; raises OddNodeError."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise OddNodeError("a JsonNode's content is no JSON") from error
    if isinstance(value, list | dict):
        raise OddNodeError("a JsonNode holds a list or an object")
    return value
