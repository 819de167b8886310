"""What state an object of a pickle may be given: BUILD."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterable

from cannery.audits import arrays, keywords, patterns
from cannery.audits.boosters import BUFFERS, buffer_problem
from cannery.audits.domains import Raw
from cannery.audits.ledger import Ledger
from cannery.audits.values import (
    Array,
    Dict,
    DType,
    Made,
    Name,
    Opaque,
    Partial,
    Tuple,
    Value,
    describe,
    is_matrix_method,
)

CALLED = frozenset(
    {
        "apply", "decision_function", "fit", "fit_predict", "fit_transform", "get_feature_names_out",
        "get_params", "inverse_transform", "partial_fit", "predict", "predict_log_proba", "predict_proba",
        "score", "score_samples", "set_output", "set_params", "staged_predict", "transform",
    }
)  # fmt: skip
"""Methods that callers call: also of classes that no table lists."""

NATIVE = (
    "collections.deque",
    "numpy.random.",
    "pandas.",
    "random.Random",
    "scipy.spatial.",
    "sklearn._loss._loss.",
    "sklearn.cluster._hdbscan._tree.",
    "sklearn.cluster._hierarchical_fast.",
    "sklearn.linear_model._sgd_fast.",
    "sklearn.metrics._dist_metrics.",
    "sklearn.neighbors._ball_tree.",
    "sklearn.neighbors._kd_tree.",
    "sklearn.neighbors._quad_tree.",
    "sklearn.tree._tree.",
    "sklearn.utils._fast_dict.",
)
"""Where classes begin whose compiled setters take a tuple apart by position."""

SLOTTED = "scipy.interpolate."
"""Where classes begin that have slots beside attributes, and no setter of their own."""

_HARMLESS = frozenset({"__doc__", "__name__"})
"""Dunder attributes that may be text."""

TEMPLATE = "_parse_arg_template"
"""Attribute of scipy's distributions whose text scipy executes."""

_TEXT = "sklearn.feature_extraction.text."

FUNCTIONS = ("func", "inverse_func")
_TRANSFORMER = "sklearn.preprocessing._function_transformer.FunctionTransformer"
"""Calls its functions on the rows that it is given, and on nothing of the file."""

WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
VERSION = "_sklearn_version"
"""Attribute that says with which scikit-learn a model was saved."""


def build(ledger: Ledger, target: Value, state: Value, offset: int) -> Raw | None:
    """Follow BUILD: judge the state; returns the array bytes that joblib puts after it, if any."""

    def refuse(rule: str, message: str) -> None:
        ledger.find(rule, "unsafe", message, offset=offset)

    if type(target) is Array and not target.built and target.canonical in ARRAYS:  # three of four
        target.built, target.state = True, state
        ledger.refer(state)
        if problem := arrays.array_problem(target, state):
            refuse("hostile-state", problem)
        return None
    if not isinstance(target, Made):
        refuse("foreign-state", f"a state is set on {describe(target)}")
        ledger.refer(state)
        return None
    if target.canonical in _SHARED:
        refuse("foreign-state", f"{describe(target)} is not the file's own, and is given a state")
    if target.built:
        refuse("foreign-state", f"{describe(target)} is given a second state")
    target.built = True
    target.state = state
    ledger.made(target, offset)
    if target.canonical == WRAPPER:
        return _wrapped(ledger, state, refuse)
    ledger.refer(state)
    if type(target) is DType:
        problem = arrays.dtype_problem(target, state)
    elif target.canonical in ARRAYS:
        problem = arrays.array_problem(target, state)
    elif type(target) is Partial:
        problem = _partial_problem(target, state)
        if problem is None:
            _attributes_of_partial(ledger, state, refuse)
    else:
        problem = None
        _general(ledger, target, state, refuse)
    if problem:
        refuse("hostile-state", problem)
    return None


_SHARED = frozenset(
    {
        "builtins.getattr",
        "builtins.type",
        "logging.getLogger",
        "numpy.ma.core.MaskedConstant",
        "pytz.FixedOffset",
        "pytz._UTC",
        "pytz._p",
        "types.MethodType",
        "zoneinfo.ZoneInfo._unpickle",
    }
)
"""Functions that return what the whole process shares."""

_DATA = frozenset({"sklearn.utils._metadata_requests.MethodMetadataRequest"})

ARRAYS = frozenset(
    {
        "numpy.ndarray",
        "numpy.matrix",
        "numpy.memmap",
        "numpy.recarray",
        "numpy.rec.recarray",
        "numpy.ma.MaskedArray",
        "numpy.ma.core.MaskedArray",
    }
)


def _partial_problem(target: Partial, state: Value) -> str | None:
    match state:
        case Tuple(items=(function, Tuple(), None | Dict(), None | Dict())):
            made = target.function
            same = function is made or (
                isinstance(function, Name)
                and isinstance(made, Name)
                and function.dotted == made.dotted
            )
            return None if same else "a partial gets another function than it was made with"
    return "a partial gets a state that functools does not write"


_Refuse = Callable[[str, str], None]


def _attributes_of_partial(ledger: Ledger, state: Value, refuse: _Refuse) -> None:
    for part in state.items[2:] if isinstance(state, Tuple) else ():
        if isinstance(part, Dict):
            part.sealed = True
            attributes(ledger, "functools.partial", part.items, refuse)


def _general(ledger: Ledger, target: Made, state: Value, refuse: _Refuse) -> None:
    """A dictionary of attributes, or one of slots; a tuple only where native code takes it apart.

    Setters call `self.__dict__.update(state)`, which takes pairs as well as dictionaries: any other
    state could bring attributes along that are not looked at here.
    """
    match state:
        case None | True:
            return
        case Dict():
            parts: tuple[Value, ...] = (state,)
        case Tuple(items=(None, Dict() as slots)):
            parts = (slots,)
        case Tuple(items=(Dict() as own, Dict() as slots)) if target.canonical.startswith(SLOTTED):
            parts = (own, slots)
        case Tuple() if not target.listed or target.canonical.startswith(NATIVE):
            parts = state.items
        case _:
            if target.listed:
                refuse("odd-state", f"{describe(target)} gets {describe(state)} as its state")
            return
    for part in parts:
        if not isinstance(part, Dict):
            continue
        part.sealed = True
        attributes(ledger, target.canonical, part.items, refuse, listed=target.listed)
        if part.rest and (part is state or len(parts) == 1):
            refuse("odd-state", f"{describe(target)} gets attributes that are no strings")


def attributes(
    ledger: Ledger, owner: str, items: dict[str, Value], refuse: _Refuse, *, listed: bool = True
) -> None:
    """Judge the attributes that an object of class `owner` is given.

    Of one that is not watched, only the type may matter here: else its value could differ in a repetition.
    """
    methods = ledger.listing.methods if listed else CALLED
    sort = _known_sorted if len(items) <= _USUAL else _sorted_out
    striking, watched = sort(tuple(items), methods)
    for key in striking:
        value = items[key]
        if key in methods:
            if not is_data(value) and not _is_own(value, key):
                refuse("method-override", f"method '{key}' of an object of '{owner}' is replaced")
        elif key not in _HARMLESS or not (value is None or isinstance(value, str | Opaque)):
            refuse("dunder-state", f"attribute '{key[:80]}' is set on an object of '{owner}'")
    version = items.get(VERSION)
    if isinstance(version, str) and len(version) < 40:
        ledger.versions.setdefault("scikit-learn", version)
    if problem := buffer_problem(owner, items, ledger):
        refuse("hostile-state", problem)
    if watched or owner == "functools.partial":
        _watch(ledger, owner, items, refuse)


def _watch(ledger: Ledger, owner: str, items: dict[str, Value], refuse: _Refuse) -> None:
    """Judge the attributes that have a rule of their own."""
    ledger.refer(items.get("subclass"))  # of joblib's arrays alone it is more than a reference
    for key in FUNCTIONS:
        if is_matrix_method(items.get(key)):
            if owner == _TRANSFORMER:
                ledger.use(items[key], "reference")
            else:
                ledger.refer(items[key])
    for key in keywords.HOLDERS:
        if isinstance(handed := items.get(key), Dict):
            handed.sealed = True
            keywords.judge(ledger, owner, handed.items, refuse)
    if owner == "functools.partial":
        keywords.judge(ledger, owner, items, refuse)
    keywords.workers(owner, items, refuse)
    keywords.width(owner, items, refuse)
    if TEMPLATE in items and not is_template(items[TEMPLATE]):
        refuse("hostile-state", f"'{owner}' would execute code that is no argument parser of scipy")
    # Anything that equals "filename" would do, so nothing but the literal passes.
    told = items.get("input", "content")
    if owner.startswith(_TEXT) and not (isinstance(told, str) and told == "content"):
        refuse("hostile-state", f"'{owner}' would open files that its rows name")
    if owner.startswith(_TEXT) and isinstance(pattern := items.get("token_pattern"), str | Opaque):
        patterns.doubt(ledger, owner, pattern)


def _sorted_out(keys: tuple[str, ...], methods: frozenset[str]) -> tuple[tuple[str, ...], bool]:
    """Return the attributes whose names mean something to Python or to callers, and whether any is watched."""
    striking = tuple(k for k in keys if k in methods or (k.startswith("__") and k.endswith("__")))
    return striking, not _WATCHED.isdisjoint(keys)


def is_plain(owner: str, keys: Iterable[str]) -> bool:
    """Return whether no rule looks at the values of such attributes, but at the version.

    One that stands for a method must be data, which is told by its type alone.
    """
    others = (*ARRAYS, *BUFFERS, *_SHARED, "functools.partial")
    if owner in others or not _WATCHED.isdisjoint(keys):
        return False
    return not any(key.startswith("__") for key in keys)


_USUAL = 64
"""Attributes of an object whose names are remembered, from one file to the next."""
_known_sorted = functools.lru_cache(maxsize=256)(_sorted_out)


_WATCHED = frozenset(
    {
        *FUNCTIONS,
        *keywords.HOLDERS,
        *keywords.WORKERS,
        TEMPLATE,
        "dtype",
        "input",
        "subclass",
        "token_pattern",
    }
)


def _is_own(value: Value, key: str) -> bool:
    """Return whether a method stands for itself: so it is left where one was replaced for a while."""
    looked_up = isinstance(value, Made) and value.canonical == "builtins.getattr"
    return looked_up and value.arguments[1:] == (key,)


def is_data(value: Value) -> bool:
    """Return whether a value is a literal, an array or the like: nothing that can be called."""
    if isinstance(value, Made) and not isinstance(value, Array):
        return value.canonical in _DATA
    return not isinstance(value, Name)


_PARSER_NODES = (
    ast.Module,
    ast.FunctionDef,
    ast.arguments,
    ast.arg,
    ast.Return,
    ast.Tuple,
    ast.Name,
    ast.Constant,
    ast.Load,
    ast.keyword,
)
_PARSERS = ["_parse_args", "_parse_args_rvs", "_parse_args_stats"]


def is_template(value: Value) -> bool:
    """Return whether a text defines scipy's three argument parsers and does nothing else.

    Each is one `return` of its own parameters; only `self._argcheck_rvs` is called.
    """
    if not isinstance(value, str) or len(value) > 8192 or value.count("(") > 200:
        return False
    try:
        tree = ast.parse(value)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if [getattr(node, "name", None) for node in tree.body] != _PARSERS:
        return False
    return all(isinstance(f, ast.FunctionDef) and _is_parser(f) for f in tree.body)


def _is_parser(function: ast.FunctionDef) -> bool:
    known = {argument.arg for argument in function.args.args}
    if len(function.body) != 1 or not isinstance(function.body[0], ast.Return):
        return False
    if function.decorator_list or function.returns:
        return False
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            if ast.unparse(node.func) != "self._argcheck_rvs":
                return False
        elif isinstance(node, ast.Attribute):
            if ast.unparse(node) != "self._argcheck_rvs":
                return False
        elif isinstance(node, ast.Name):
            if node.id not in known:
                return False
        elif not isinstance(node, _PARSER_NODES):
            return False
    return True


WRAPPED = frozenset(
    {"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"}
)
"""What joblib's wrapper says of an array."""
ALIGNMENTS = (None, 8, 16, 32, 64)


def _wrapped(ledger: Ledger, state: Value, refuse: _Refuse) -> Raw | None:
    """Judge the wrapper that joblib writes in front of an array's bytes."""
    items = state.items if isinstance(state, Dict) else {}
    cls, shape, kind = items.get("subclass"), items.get("shape"), items.get("dtype")
    alignment = items.get("numpy_array_alignment_bytes")
    if (
        not isinstance(state, Dict)
        or not set(items) <= WRAPPED
        or state.count != len(items)
        or not isinstance(cls, Name)
        or not isinstance(shape, Tuple)
        or not isinstance(kind, DType)
        or items.get("order") not in ("C", "F")
        or alignment not in ALIGNMENTS
    ):
        refuse("hostile-state", "an array wrapper gets a state that joblib does not write")
        return None
    ledger.use(cls, "class")
    count = arrays.elements(shape)
    if count is None:
        refuse("hostile-state", "an array wrapper has an impossible shape")
        return None
    kind.used = True
    size, padding = (None, None) if kind.holds else (count * kind.itemsize, alignment)
    array = Array(cls)
    array.fill(kind, shape.items, None)
    return Raw(array, size, padding)
