"""The own files of boosting libraries, and the buffers that they keep inside a pickled model.

The library's own parser reads them, in native code, when the state is set: so a state has exactly one
buffer, of the type and with the beginning that the library writes, and nothing in place of a pointer;
and the numbers in it lead nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cannery.audits.ledger import Ledger, remedy_for
from cannery.audits.trees.catboost import check_catboost
from cannery.audits.trees.lightgbm import check_lightgbm
from cannery.audits.trees.walks import BadModelError, UncheckedModelError
from cannery.audits.trees.xgboost import check_xgboost
from cannery.audits.values import Opaque, Value, describe, head_of
from cannery.sources.windows import Data

CHECKS: dict[str, Callable[[Data], None]] = {
    "catboost": check_catboost,
    "lightgbm": check_lightgbm,
    "xgboost": check_xgboost,
}
"""Library → what raises BadModelError for a file of it that is not whole."""


def audit_booster(library: str, data: Data, ledger: Ledger) -> None:
    """Judge the own file of a boosting library: it runs no code, and native code follows its numbers."""
    if len(data) > LARGEST:
        ledger.find("too-long", "unreadable", f"a model of {len(data)} bytes; {LARGEST} are read")
        return
    try:
        CHECKS[library](data)
    except UncheckedModelError as error:
        _review(ledger, "catboost.core.CatBoost", str(error))
    except BadModelError as error:
        if error.unsafe:
            ledger.find("hostile-trees", "unsafe", str(error))
        else:
            ledger.find("broken-booster", "unreadable", f"not a model of {library}: {error}")


def _review(ledger: Ledger, owner: str, what: str) -> None:
    message = f"a model of '{owner}' has what compiled code would follow: {what}"
    remedy = remedy_for(owner)
    ledger.find("unchecked-native", "review", message, name=owner, remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """Where a library keeps its buffer, and how one begins."""

    keys: tuple[str, ...]
    """Attributes under which generations keep it; a state has exactly one of them."""
    types: tuple[type, ...]
    heads: tuple[bytes, ...]


_CATBOOST = Buffer(keys=("__model",), types=(bytes,), heads=(b"CBM1",))

BUFFERS = {
    "catboost.core.CatBoost": _CATBOOST,
    "catboost.core.CatBoostClassifier": _CATBOOST,
    "catboost.core.CatBoostRanker": _CATBOOST,
    "catboost.core.CatBoostRegressor": _CATBOOST,
    "lightgbm.basic.Booster": Buffer(keys=("_handle", "handle"), types=(str,), heads=(b"tree\n",)),
    "xgboost.core.Booster": Buffer(
        # UBJSON, JSON, and the binary form of the generations before.
        keys=("handle",),
        types=(bytearray,),
        heads=(b"{L\0\0\0\0\0\0\0\x06Config{", b'{"', b"CONFIG-offset:"),
    ),
}
"""By canonical class."""

LARGEST = 1 << 31
"""Bytes of a buffer; what is larger than any of these libraries' own readers takes."""


def buffer_problem(owner: str, state: dict[str, Value], ledger: Ledger) -> str | None:
    """Return what is wrong with the native buffer in the state of a booster, None where there is none to judge.

    One that no rule can judge goes into the ledger, for review.
    """
    rule = BUFFERS.get(owner)
    if rule is None:
        return None
    found = [key for key in rule.keys if key in state]
    if len(found) != 1:
        return (
            None
            if not found and rule is _CATBOOST
            else f"'{owner}' has {len(found)} native buffers"
        )
    value = state[found[0]]
    kind = value.type if isinstance(value, Opaque) else type(value)
    if kind not in rule.types:
        return f"the native buffer of '{owner}' is {describe(value)[:80]}"
    size = value.size if isinstance(value, Opaque) else len(value)
    if size > LARGEST:
        return f"the native buffer of '{owner}' has {size} bytes"
    if not head_of(value).startswith(rule.heads):
        return f"the native buffer of '{owner}' does not begin as that library writes it"
    try:
        CHECKS[owner.partition(".")[0]](_whole(value))
    except UncheckedModelError as error:
        _review(ledger, owner, str(error))
    except BadModelError as error:
        return f"the native buffer of '{owner}' is no whole model: {error}"
    return None


def _whole(value: Value) -> bytes:
    """Return the bytes of a buffer; a text in UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not isinstance(value, Opaque) or value.span is None:
        return bytes(value) if isinstance(value, bytes) else b""
    span = value.span
    if value.type is str and span.coding:
        text = span.data[span.start : span.stop].decode(span.coding, "surrogatepass")
        return text.encode("utf-8", "surrogatepass")
    return b"".join(span.blocks(value.size))
