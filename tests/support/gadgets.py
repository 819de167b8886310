"""Attacks made of listed names alone: constructors with hostile arguments, listed classes with hostile states."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import PosixPath, PurePosixPath
from types import SimpleNamespace
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pickles as p
from bent import FAR, LABELS, ROWS, Told
from numpy._core._internal import _convert_to_stringdtype_kwargs as _texts
from numpy._core.multiarray import _reconstruct
from pandas._libs.internals import _unpickle_block
from sklearn.decomposition import NMF, LatentDirichletAllocation
from sklearn.ensemble import (
    RandomForestClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.kernel_approximation import PolynomialCountSketch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import FeatureUnion, Pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    OrdinalEncoder,
    SplineTransformer,
    StandardScaler,
)
from sklearn.tree import DecisionTreeRegressor

WORDS = ["one two", "three"]


def with_attributes(model: Any, **attributes: Any) -> Any:
    """Return a model whose state has more in it."""
    model.__dict__.update(attributes)
    return model


def forest(**attributes: Any) -> Any:
    """Return a fitted forest with attributes that stand in front of its methods."""
    return with_attributes(RandomForestClassifier(n_estimators=2).fit(ROWS, LABELS), **attributes)


def frame(**parts: Any) -> Any:
    """Return a frame whose one block is somewhere else."""
    told = {"values": np.zeros((1, 2)), "placement": slice(0, 1, 1)} | parts
    block = Told(_unpickle_block, (told["values"], told["placement"], 2), None)
    axes = [pd.Index(["a"], dtype=object), pd.RangeIndex(2)]
    manager = Told(type(pd.DataFrame()._mgr), ((block,), axes), None)
    return [manager]


def levels(codes: Any) -> Any:
    """Return an index of one level with these codes."""
    function, arguments = pd.MultiIndex.from_arrays([[1, 2]]).__reduce__()[:2]
    return [Told(function, (arguments[0], arguments[1] | {"codes": codes}), None)]


def categories(codes: Any) -> Any:
    """Return categories with these codes."""
    function, arguments, state = pd.Categorical([1, 2]).__reduce_ex__(4)[:3]
    parts = [codes if isinstance(part, np.ndarray) else part for part in state]
    return [Told(function, arguments, tuple(parts))]


def doubled(levels: int, times: int = 2) -> Any:
    """Return a pipeline of the same pipelines, and so on: a row would go through it for ever."""
    made: Any = StandardScaler()
    for level in range(levels):
        steps = [(f"{level}-{number}", made) for number in range(times)]
        made = Pipeline(steps) if level % 2 else FeatureUnion(steps)
    return made


def within(hold: Callable[[Any], Any], levels: int = 30) -> Any:
    """Return models that ask two others each, held by containers of some kind."""
    pair = [VotingRegressor([]), VotingRegressor([])]
    for _ in range(levels):
        held = hold(pair)
        pair = [with_attributes(VotingRegressor([]), estimators_=held) for _ in range(2)]
    return pair


def bare_tree(hold: Callable[[Any], Any]) -> Any:
    """Return a model that asks the tree of a member, without the check of columns that the member has."""
    member = DecisionTreeRegressor().fit(ROWS, LABELS)
    return with_attributes(VotingRegressor([]), estimators_=hold(member.tree_), member=member)


GADGETS: dict[str, Callable[[], Any]] = {
    "files named by rows": lambda: with_attributes(
        CountVectorizer().fit(WORDS), input=np.str_("filename")
    ),
    "files named by rows, hashed": lambda: HashingVectorizer(input="filename"),
    "files given by rows": lambda: with_attributes(
        TfidfVectorizer().fit(WORDS), input=np.array("file")
    ),
    "check of columns replaced": lambda: forest(_validate_X_predict=np.float32),
    "check of columns bound": lambda: forest(_validate_X_predict=partial(np.asarray, dtype="f4")),
    "tags replaced": lambda: with_attributes(StandardScaler(), _get_tags=np.mean),
    "steps replaced": lambda: with_attributes(Pipeline([]), _iter=np.mean),
    "score replaced": lambda: with_attributes(
        LogisticRegression(), decision_function=FunctionTransformer(np.sum)
    ),
    "fraction without end": lambda: [Told(Fraction, ("1e999999999",), None)],
    "number of a billion digits": lambda: [Told(Decimal, ("1E+999999999",), None)],
    "steps within steps": lambda: doubled(40),
    "tables within tables": lambda: doubled(14, 8),
    "fraction of spaces": lambda: [Told(Fraction, (" 1_0 ",), None)],
    "queue without end": lambda: [Told(deque, (range(1 << 40),), None)],
    "queue of a dictionary": lambda: [Told(deque, (OrderedDict(a=1), "x"), None)],
    "block of a frame": lambda: frame(placement=slice(FAR, FAR + 1, 1)),
    "block without a step": lambda: frame(placement=slice(0, 1, 0)),
    "block of other rows": lambda: frame(values=np.zeros((1, 9))),
    "block of other columns": lambda: frame(values=np.zeros((3, 2))),
    "code of a level": lambda: levels([np.array([0, FAR])]),
    "codes of more levels": lambda: levels([np.array([0]), np.array([0])]),
    "code of a category": lambda: categories(np.array([0, 100], dtype="i1")),
    "code before the first": lambda: categories(np.array([0, -5], dtype="i1")),
    "path of an object": lambda: [Told(PurePosixPath, (StandardScaler(),), None)],
    "memory map of a file": lambda: [Told(np.memmap, ("owned", "u1", "w+", 0, (1,)), None)],
    "method of a type": lambda: [Told(getattr, (str, "format"), None)],
    "arrays made of bytes": lambda: FunctionTransformer(
        np.vectorize(np.ndarray, otypes="O"), kw_args={"dtype": "O", "buffer": b"A" * 8}
    ),
    "a sum without end": lambda: FunctionTransformer(partial(sum, range(1 << 60))),
    "a million processes": lambda: make_union(StandardScaler(), n_jobs=1_000_000),
    "a million processes of numpy": lambda: make_union(
        StandardScaler(), n_jobs=np.int64(1_000_000)
    ),
    "a million threads of a booster": lambda: lightgbm.LGBMClassifier(num_threads=1_000_000),
    "a million classes of a booster": lambda: with_attributes(
        lightgbm.LGBMClassifier(), _n_classes=99_999_999
    ),
    "counts without end": lambda: FunctionTransformer(np.bincount, kw_args={"minlength": 1 << 40}),
    "a shape without end": lambda: FunctionTransformer(
        np.ones_like, kw_args={"shape": (np.int64(1 << 20), 1 << 20)}
    ),
    "frequencies without end": lambda: FunctionTransformer(partial(np.fft.fft, n=1 << 40)),
    "distances by a million processes": lambda: FunctionTransformer(
        pairwise_distances, inv_kw_args={"n_jobs": 1_000_000}
    ),
    "handlers of every logger": lambda: [Told(logging.getLogger, ("root",), {"handlers": [1]})],
    "state of a method": lambda: [Told(getattr, (np.ndarray, "ravel"), {"a": 1})],
    "method of a frame that writes": lambda: [Told(getattr, (pd.DataFrame, "to_pickle"), None)],
    "method of a frame that evaluates": lambda: [Told(getattr, (pd.DataFrame, "query"), None)],
    "method of an array that writes": lambda: [Told(getattr, (np.ndarray, "tofile"), None)],
    "method within a method": lambda: [Told(getattr, (np.ndarray, "ravel.__self__"), None)],
    "state of a type of texts": lambda: [
        Told(_texts, (1,), (3, "|", None, None, None, -1, -1, 63)),
    ],
    "texts that are objects": lambda: [
        Told(
            _reconstruct,
            (np.ndarray, (0,), b"b"),
            (1, (1,), np.dtypes.StringDType(), False, [StandardScaler()]),
        ),
    ],
    "missing texts that are objects": lambda: [Told(_texts, (1, StandardScaler()), None)],
    "method of a pattern": lambda: [Told(getattr, (CountVectorizer(), "fit"), None)],
    "index that is an array": lambda: [
        Told(pd.RangeIndex(1).__reduce__()[0], (np.ndarray, {"shape": (FAR, FAR)}), None)
    ],
    "zone that is a path": lambda: [Told(pd.DatetimeTZDtype, ("ns", "dateutil//etc/passwd"), None)],
    "class of an array elsewhere": lambda: with_attributes(StandardScaler(), subclass=np.memmap),
    "file deleted by a member's method": lambda: with_attributes(
        StackingRegressor([]), estimators_=[PosixPath("precious")], stack_method_=["unlink"]
    ),
    "file written by a member's method": lambda: with_attributes(
        StackingClassifier([]),
        estimators_=[PosixPath("precious")],
        stack_method_=np.array(["write_bytes"]),
    ),
    "members asked by any method": lambda: with_attributes(
        FixedThresholdClassifier(LogisticRegression()), response_method="set_params"
    ),
    "chain asked by any method": lambda: with_attributes(
        ClassifierChain(LogisticRegression()), chain_method_=deque(["fit"])
    ),
    "members in a queue": lambda: within(deque),
    "members in a set": lambda: within(set),
    "members in a frozen set": lambda: within(frozenset),
    "members that are keys": lambda: within(dict.fromkeys),
    "members that are keys in order": lambda: within(OrderedDict.fromkeys),
    "members that are counted": lambda: within(Counter),
    "rows gone over without end": lambda: with_attributes(
        LatentDirichletAllocation(2), max_doc_update_iter=1 << 40
    ),
    "rows gone over again and again": lambda: NMF(2, max_iter=1 << 40),
    "powers without end": lambda: PolynomialCountSketch(degree=1 << 30),
    "splines without end": lambda: with_attributes(
        SplineTransformer().fit(ROWS), n_features_out_=1 << 50
    ),
    "counts of a gigabyte each": lambda: CountVectorizer(dtype="S1000000000"),
    "items of a gigabyte each": lambda: FunctionTransformer(
        np.array, kw_args={"dtype": np.dtype("S1000000000")}
    ),
    "items that are arrays of arrays": lambda: OrdinalEncoder(dtype=("f8", (9, 1 << 30))),
    "items that are arrays": lambda: OrdinalEncoder(dtype="(9999,9999)f8"),
    "namespace with arguments": lambda: [Told(SimpleNamespace, ({"a": 1},), None)],
}
"""What is wrong → what makes a model with it. Every name in these is listed for some use."""


def keyed(key: Any) -> bytes:
    """Return a pickle that sets an attribute by its slot, under a key that is no literal."""
    target = p.made(p.name("sklearn.pipeline", "Pipeline"))
    scalar = p.call(
        p.name("numpy._core.multiarray", "scalar"),
        p.dtype(f"U{len(key)}", state=p.pair(
            p.number(3), p.text("<"), p.NONE, p.NONE, p.NONE,
            p.number(4 * len(key)), p.number(4), p.number(8),
        )),
        p.data(key.encode("utf-32-le")),
    )  # fmt: skip
    slots = p.EMPTY_DICT + p.MARK + scalar + p.name("sklearn.pipeline", "FeatureUnion") + b"u"
    return p.make_pickle(p.built(target, p.pair(p.NONE, slots)))


PROGRAMS: dict[str, bytes] = {
    "class set by a text of numpy": keyed("__class__"),
    "method set by a text of numpy": keyed("predict"),
    "attributes behind a compiled state": p.make_pickle(
        p.call(
            p.name("sklearn._loss._loss", "__pyx_unpickle_CyHalfMultinomialLoss"),
            p.name("sklearn._loss._loss", "CyHalfMultinomialLoss"),
            p.number(1),
            p.pair(p.items(gradient=p.name("numpy", "mean"))),
        )
    ),
    "levels without a call": p.make_pickle(
        p.built(
            p.made(p.name("pandas", "MultiIndex")),
            p.items(_levels=p.listed(), _codes=p.listed(p.NONE)),
        )
    ),
    "blocks without a call": p.make_pickle(
        p.built(
            p.made(p.name("pandas.core.internals.managers", "BlockManager")),
            p.pair(p.listed(), p.listed()),
        )
    ),
    "private function of numpy": p.make_pickle(
        p.built(
            p.made(p.name("sklearn.preprocessing._function_transformer", "FunctionTransformer")),
            p.items(func=p.name("numpy._core.umath", "_expandtabs")),
        )
    ),
}
"""Programs that no pickler writes, of listed names as well."""
