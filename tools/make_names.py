"""List the names of the libraries that are installed here, as JSON: `python make_names.py`.

`tools/merge_names.py` runs this in environments of several generations and writes the tables.

Everything is listed by rule. A class may be made where making it (without arguments) and giving it a
state runs nothing but assignments; a function may be called on opening only where it is named below
with the argument rule that binds it; a callable may stand in a state where calling it computes and
does nothing else: no file, no process, no network, no code.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
import types
import warnings
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

Modules = dict[str, set[str]]

HEAP_TYPE = 1 << 9

FUNCTIONS = {
    "builtin_function_or_method", "cython_function_or_method", "function", "fused_cython_function",
}  # fmt: skip
"""Types of functions; compiled ones were builtin functions before Cython 3."""


def modules(package: str, *, without: tuple[str, ...]) -> Iterator[types.ModuleType]:
    """Import and yield every module of a package but those whose name holds a part of `without`."""
    root = importlib.import_module(package)
    yield root
    for info in pkgutil.walk_packages(root.__path__, package + ".", onerror=lambda _: None):
        if any(part in info.name for part in without):
            continue
        try:
            yield importlib.import_module(info.name)
        except Exception:  # a module for a library that is not here
            continue


def own(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield what a module defines itself, by name."""
    for name, value in sorted(vars(module).items()):
        if getattr(value, "__module__", None) == module.__name__:
            yield name, value


def is_plain_class(value: Any, name: str, setters: tuple[str, ...]) -> bool:
    """Tell whether making an object and setting its state only assigns attributes."""
    if not isinstance(value, type) or value.__qualname__ != name:
        return False
    if issubclass(value, (BaseException, type)) or "__del__" in _all(value):
        return False
    setter = _where(value, "__setstate__")
    if setter is not None and setter.__flags__ & HEAP_TYPE:
        return f"{setter.__module__}.{setter.__qualname__}" in setters
    maker = _where(value, "__new__")
    if maker is None or not maker.__flags__ & HEAP_TYPE or issubclass(value, tuple):
        return True
    return maker.__name__ == "rv_discrete"  # looks at its keyword arguments


def _all(cls: type) -> set[str]:
    return {name for base in cls.__mro__ if base is not object for name in vars(base)}


def _where(cls: type, name: str) -> type | None:
    for base in cls.__mro__:
        if base is not object and name in vars(base):
            return base
    return None


def function_names(module: types.ModuleType, *, without: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the functions that a module defines, compiled ones included."""
    for name, value in own(module):
        if type(value).__name__ not in FUNCTIONS:
            continue
        if value.__qualname__ == name and not any(part in name for part in without):
            yield name


def add_methods(references: Modules, cls: type, names: tuple[str, ...]) -> None:
    """List these methods of a class."""
    for name in names:
        owner = next((base for base in cls.__mro__ if name in vars(base)), object)
        method = getattr(owner, name, None)
        if getattr(method, "__qualname__", None) != f"{owner.__qualname__}.{name}":
            continue
        for home in {owner.__module__, getattr(method, "__module__", owner.__module__)}:
            references[home].add(f"{owner.__qualname__}.{name}")


# scikit-learn

SKLEARN_WITHOUT = (
    ".tests",
    "sklearn.conftest",
    "sklearn.datasets",
    ".setup",
    "sklearn.externals",
    "sklearn._build_utils",
    "sklearn._min_dependencies",
    "sklearn.experimental",
    "sklearn.utils._testing",
    "sklearn.utils._test_common",
    "sklearn.utils.estimator_checks",
    "sklearn.utils.parallel",
    "sklearn.utils._joblib",
    "sklearn.utils._show_versions",
    "sklearn.utils._estimator_html_repr",
    "sklearn.utils._readonly_array_wrapper",
    "sklearn.utils._repr_html",
    "sklearn.utils.fixes",
    "sklearn.utils.discovery",
    "sklearn.callback",
    "sklearn.inspection",
    "sklearn.tree._export",
    "sklearn.tree._reingold_tilford",
    "sklearn.utils._array_api",
    "sklearn.utils._available_if",
    "sklearn.utils._mocking",
    "sklearn.utils._param_validation",
    "sklearn.utils._plotting",
    "sklearn.utils._pprint",
    "sklearn.utils.deprecation",
    "sklearn.utils.metaestimators",
    "._plot",
    "Display",
    "_newton_solver",
    "_datasets_pair",
    "_middle_term_computer",
    "_pairwise_distances_reduction",
    "._partitioner",
    "._splitter",
    "._criterion",
    ".splitting",
    ".histogram",
    ".grower",
    "_seq_dataset",
    "_vector_sentinel",
    "_weight_vector",
)
"""Modules that draw, read, run or test, and native helpers of fitting that no fitted model holds."""
SKLEARN_NOT_CLASSES = (
    "Display",
    "Builder",
    "_PathFinder",
    "Pruner",
    "Prune",
    "Pytest",
    "Heap",
    "PQueue",
    "QuadTree",
    "UnionFind",
    "WeightedEdge",
    "WeightedFenwickTree",
    "IntFloatDict",
    "_Deprecat",
    "WeightedMedian",
)
SKLEARN_SETTERS = (
    "sklearn.base.BaseEstimator",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.isotonic.IsotonicRegression",
    "sklearn.utils._bunch.Bunch",
)
"""Setters that were read: they assign, cast arrays, or rebuild an interpolation."""
SKLEARN_CONSTRUCTED = {
    "sklearn._loss._loss": None,
    "sklearn.linear_model._sgd_fast": None,
    "sklearn.tree._tree": ("Tree",),
}
"""Classes that pickles call with arguments, compiled ones and tuples: all of a module, or these."""
SKLEARN_PRIVATE = {
    "_cube", "_exp", "_identity", "_kmeans_single_elkan", "_kmeans_single_lloyd", "_logcosh",
    "_passthrough_scorer",
}  # fmt: skip
"""Private functions that fitted estimators hold."""
SKLEARN_REFERENCES = (
    "sklearn.metrics.",
    "sklearn.cluster._kmeans",
    "sklearn.decomposition._fastica",
    "sklearn.feature_extraction.text",
    "sklearn.feature_selection._mutual_info",
    "sklearn.feature_selection._univariate_selection",
    "sklearn.isotonic",
    "sklearn.neural_network._base",
    "sklearn.preprocessing._data",
    "sklearn.preprocessing._function_transformer",
    "sklearn.preprocessing._label",
    "sklearn.utils.extmath",
    "sklearn.covariance._",
)
"""Modules whose functions compute; a FunctionTransformer, a scorer or a selector may hold them."""
NOT_COMPUTING = ("plot", "display", "check_", "fetch", "load", "dump", "scorer", "get_valid")
"""Parts of names of functions that draw, check or read."""


def is_public_computing(name: str) -> bool:
    """Tell whether the name of a function of scikit-learn says that it only computes."""
    return not name.startswith(("_", "newObj")) and not any(part in name for part in NOT_COMPUTING)


def sklearn_table() -> dict[str, Any]:
    """List scikit-learn."""
    classes, functions, references = defaultdict(set), defaultdict(set), defaultdict(set)
    refused: Modules = defaultdict(set)
    for module in modules("sklearn", without=SKLEARN_WITHOUT):
        name = module.__name__
        for key, value in own(module):
            if any(part in key for part in SKLEARN_NOT_CLASSES):
                continue
            if isinstance(value, type) and not is_plain_class(value, key, SKLEARN_SETTERS):
                refused[name].add(key)
            elif is_plain_class(value, key, SKLEARN_SETTERS):
                classes[name].add(key)
                constructed = SKLEARN_CONSTRUCTED.get(name, ()) or (key,)
                if (name in SKLEARN_CONSTRUCTED and key in constructed) or hasattr(
                    value, "_fields"
                ):
                    functions[name].add(key)
        compiled = str(getattr(module, "__file__", "")).endswith(".so")
        for key in function_names(module):
            made = key.removeprefix("__pyx_unpickle_")
            if key == "newObj" or (compiled and made != key and made in classes[name]):
                functions[name].add(key)
        # Compiled functions trust their caller to have looked at what they are given.
        if name.startswith(SKLEARN_REFERENCES) and "_plot" not in name and not compiled:
            references[name].update(
                key
                for key in function_names(module)
                if key in SKLEARN_PRIVATE or is_public_computing(key)
            )
    # Histogram-based boosting puts it in front of its numbers.
    references["sklearn.utils.validation"].add("check_array")
    # Repeated splits hold the class that splits.
    references["sklearn.model_selection._split"].update(("KFold", "StratifiedKFold"))
    return table(
        "scikit-learn",
        classes,
        functions,
        references,
        aliases={"_loss": "sklearn._loss._loss"},
        refused=refused,
    )


# Libraries of estimators in scikit-learn's manner

ESTIMATORS_WITHOUT = (
    ".tests", "conftest", ".datasets", ".keras", ".tensorflow", ".testing", "_checks", "_docstring",
    "_show_versions", "deprecation", "fixes", "_config", "_tags", "validation", "._lib", ".dask", ".spark",
    ".rabit", ".collective", ".tracker", ".federated", ".plotting", ".libpath", ".monitoring", ".eval",
    ".dev", ".widget", ".text_processing", ".utils",
)  # fmt: skip
"""Modules that draw, read, run, test or talk to other machines."""


def estimators_table(
    library: str, package: str, homes: tuple[str, ...], setters: tuple[str, ...] = ()
) -> dict[str, Any]:
    """List the plain classes in the modules of a library that begin with `homes`, and what its setters bind."""
    classes, refused = defaultdict(set), defaultdict(set)
    for module in modules(package, without=ESTIMATORS_WITHOUT):
        if not module.__name__.startswith(homes):
            continue
        for key, value in own(module):
            if isinstance(value, type) and "Mock" not in key:
                plain = is_plain_class(value, key, (*SKLEARN_SETTERS, *setters))
                (classes if plain else refused)[module.__name__].add(key)
    return table(library, classes, {}, {}, refused=refused)


def imblearn_table() -> dict[str, Any]:
    """List imbalanced-learn: samplers, ensembles, its pipeline, and its metrics."""
    homes = (
        "over_sampling",
        "under_sampling",
        "combine",
        "ensemble",
        "pipeline",
        "base",
        "metrics",
    )
    found = estimators_table("imbalanced-learn", "imblearn", tuple(f"imblearn.{h}" for h in homes))
    metrics = importlib.import_module("imblearn.metrics._classification")
    names = [n for n in function_names(metrics, without=("make_",)) if not n.startswith("_")]
    return found | {"references": ordered({metrics.__name__: names})}


def xgboost_table() -> dict[str, Any]:
    """List XGBoost: its estimators, and the booster, whose buffer has a rule in `audits/boosters.py`."""
    found = with_booster(
        estimators_table(distribution("xgboost", "xgboost-cpu"), "xgboost", ("xgboost.sklearn",)),
        "xgboost.core",
    )
    found["classes"]["xgboost.callback"] = ["EarlyStopping"]
    return found | {"library": "xgboost"}


def lightgbm_table() -> dict[str, Any]:
    """List LightGBM in the same way."""
    return with_booster(
        estimators_table("lightgbm", "lightgbm", ("lightgbm.sklearn",)), "lightgbm.basic"
    )


def with_booster(found: dict[str, Any], home: str) -> dict[str, Any]:
    """Add the class that holds a native booster."""
    return found | {"classes": ordered(found["classes"] | {home: ["Booster"]})}


def catboost_table() -> dict[str, Any]:
    """List CatBoost: its setter reads the buffer that has a rule in `audits/boosters.py`."""
    names = ["CatBoost", "CatBoostClassifier", "CatBoostRanker", "CatBoostRegressor"]
    return table("catboost", {"catboost.core": names}, {}, {})


# numpy

NUMPY_CLASSES = {
    # `memmap` is made here as a view of other bytes; it opens files where it is called, which it may not be.
    "numpy": ("matrix", "memmap", "ndarray", "poly1d", "recarray", "record", "vectorize"),
    "numpy.ma.core": ("MaskedArray", "MaskedConstant"),
    "numpy.polynomial.chebyshev": ("Chebyshev",),
    "numpy.polynomial.hermite": ("Hermite",),
    "numpy.polynomial.hermite_e": ("HermiteE",),
    "numpy.polynomial.laguerre": ("Laguerre",),
    "numpy.polynomial.legendre": ("Legendre",),
    "numpy.polynomial.polynomial": ("Polynomial",),
    "numpy.rec": ("recarray", "record"),
    "numpy.ma": ("MaskedArray",),
    "numpy.random._mt19937": ("MT19937",),
    "numpy.random._pcg64": ("PCG64", "PCG64DXSM"),
    "numpy.random._philox": ("Philox",),
    "numpy.random._sfc64": ("SFC64",),
    "numpy.random.bit_generator": ("SeedSequence",),
}
NUMPY_FUNCTIONS = {
    "numpy": ("dtype",),
    "numpy._core": ("_ufunc_reconstruct",),
    "numpy._core._internal": ("_convert_to_stringdtype_kwargs",),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.numeric": ("_frombuffer",),
    "numpy.ma.core": ("MaskedConstant", "_mareconstruct"),
    "numpy.random._pickle": ("__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"),
    "numpy.random._generator": ("Generator",),
    "numpy.random.bit_generator": ("__pyx_unpickle_SeedSequence",),
    "numpy.random.mtrand": ("RandomState",),
}
"""Those that could do more than compute have an argument rule in `audits/calls.py`."""
NUMPY_WITHOUT = (
    "load", "save", "fromfile", "fromstring", "fromregex", "genfromtxt", "memmap", "tofile",
    "frompyfunc", "fromfunction", "lookfor", "source", "disp", "fromiter", "apply_", "piecewise", "vectorize", "set_", "seterr",
    "show_", "print", "get_include", "info", "test", "busday", "einsum_path", "array2string",
    "array_repr", "array_str", "bmat", "empty", "format_", "errstate", "buffer", "bufsize", "geterr", "dlpack", "nested", "_",
)  # fmt: skip
"""Parts of names of functions that read, write, configure, call what they are given, or show memory as it was left."""
NUMPY_SIZED = {
    "arange", "bartlett", "blackman", "broadcast_to", "eye", "full", "geomspace", "hamming", "hanning",
    "identity", "indices", "kaiser", "kron", "linspace", "logspace", "multiply", "ones", "pad", "repeat",
    "resize", "tile", "tri", "tril_indices", "triu_indices", "vander", "zeros",
    "center", "expandtabs", "ljust", "rjust", "zfill",
}  # fmt: skip
"""Functions whose arguments say how large their result is: a row would take all memory."""
TEXT_HOMES = ("numpy.strings", "numpy.char", "numpy._core.defchararray")
UFUNC_HOMES = ("numpy", "numpy._core._multiarray_umath", "numpy._core.umath")


def numpy_module(name: str) -> types.ModuleType:
    """Import a module by its name in numpy 2, in numpy 1 too."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return importlib.import_module(name.replace("numpy._core", "numpy.core"))


def numpy_table() -> dict[str, Any]:
    """List numpy."""
    import numpy as np

    raw = (np.void, np.record)  # which take bytes for objects
    references: Modules = defaultdict(set)
    for home in UFUNC_HOMES:
        for key, value in vars(numpy_module(home)).items():
            if isinstance(value, np.ufunc) and value.__name__ == key and key[0] != "_":
                references[home].add(key)
    for value in vars(np).values():
        if isinstance(value, type) and issubclass(value, np.generic) and value not in raw:
            references["numpy"].add(value.__name__)
    for home in ("numpy", "numpy.linalg", "numpy.fft", *TEXT_HOMES):
        try:
            module = numpy_module(home)
        except ImportError:
            continue
        for key, value in vars(module).items():
            if not callable(value) or isinstance(value, type | np.ufunc):
                continue
            if key.startswith("_") or any(part in key for part in NUMPY_WITHOUT[:-1]):
                continue
            if key in NUMPY_SIZED:
                continue
            if getattr(value, "__module__", None) == home and value.__name__ == key:
                references[home].add(key)
    for home, names in NUMPY_CLASSES.items():
        references[home].update(n for n in names if n in {"matrix", "MaskedArray"})
    return table(
        "numpy",
        NUMPY_CLASSES,
        NUMPY_FUNCTIONS,
        references,
        aliases={"numpy.core": "numpy._core"},
    )


# scipy

SCIPY_CLASSES = (
    *(
        f"scipy.sparse._{kind}"
        for kind in ("arrays", "bsr", "coo", "csc", "csr", "dia", "dok", "lil")
    ),
    "scipy.interpolate._bsplines",
    "scipy.interpolate._cubic",
    "scipy.interpolate._interpolate",
    "scipy.interpolate._polyint",
    "scipy.stats._continuous_distns",
    "scipy.stats._discrete_distns",
    "scipy.stats._distn_infrastructure",
    "scipy.optimize._optimize",
    "scipy.spatial._ckdtree",
    "scipy.spatial._kdtree",
    "scipy.stats._covariance",
    "scipy.stats._kde",
    "scipy.stats._multivariate",
)
SCIPY_NOT_CLASSES = (
    "BPoly", "NdPPoly", "Rectangle", "_DeprecationWrapper", "cKDTreeNode", "coo_entries", "interp2d",
    "ordered_pairs", "random_table_frozen", "random_table_gen",
)  # fmt: skip
"""Native code follows the arrays of other interpolations and of tables, and no rule judges these."""
SCIPY_SETTERS = (
    "scipy.stats._distn_infrastructure.rv_generic",
    "scipy.stats._distn_infrastructure.rv_continuous",
    "scipy.stats._distn_infrastructure.rv_discrete",
    "scipy.stats._distn_infrastructure.rv_sample",
    "scipy.sparse._coo.coo_matrix",
)
"""They execute `_parse_arg_template`, which has a rule of its own in `audits/states.py`."""


SPARSE_METHODS = ("toarray", "tocoo", "tocsc", "tocsr", "todense")
"""Methods of a sparse matrix that make another form of it."""


SCIPY_ALIASES = {
    f"scipy.{name}": f"scipy.{package}._{name.partition('.')[2]}"
    for package, names in {
        "sparse": ("bsr", "coo", "csc", "csr", "dia", "dok", "lil"),
        "interpolate": ("interpolate",),
        "spatial": ("ckdtree",),
    }.items()
    for name in (f"{package}.{one}" for one in names)
}
"""Modules that were public before scipy 1.8; each hands on the classes of its successor."""


def scipy_table() -> dict[str, Any]:
    """List scipy."""
    import numpy as np

    classes, functions, references = defaultdict(set), defaultdict(set), defaultdict(set)
    refused: Modules = defaultdict(set)
    without = (".tests", "conftest", "._lib._", ".io", ".datasets", "._build", "setup")
    for module in modules("scipy", without=without):
        name = module.__name__
        if name.startswith(SCIPY_CLASSES):
            for key, value in own(module):
                if key in SCIPY_NOT_CLASSES or not isinstance(value, type):
                    continue
                plain = is_plain_class(value, key, SCIPY_SETTERS)
                (classes if plain else refused)[name].add(key)
                if key == "interp1d":  # keeps the one that its kind chose
                    chosen = tuple(one for one in vars(value) if one.startswith("_call_"))
                    add_methods(references, value, chosen)
                # Discrete distributions keep it as a method that is bound to them.
                if plain and name == "scipy.stats._discrete_distns":
                    method = getattr(value, "_entropy", None)
                    if method is not None:
                        references[method.__module__].add(method.__qualname__)
        if name.startswith("scipy.sparse._"):
            for _, value in own(module):
                if isinstance(value, type):
                    add_methods(references, value, SPARSE_METHODS)
        if name.startswith("scipy.spatial.distance"):
            references[name].update(function_names(module, without=("_", "pdist", "cdist")))
    homes = ("scipy.special", "scipy.special._ufuncs", "scipy.special._special_ufuncs")
    for home in homes:
        try:
            module = importlib.import_module(home)
        except ImportError:
            continue
        for key, value in vars(module).items():
            if isinstance(value, np.ufunc) and not key.startswith("_"):
                references[home].add(key)
    references["scipy._lib.array_api_compat.numpy._aliases"].add("asarray")
    references["scipy.special._logsumexp"].update(("log_softmax", "logsumexp", "softmax"))
    return table("scipy", classes, functions, references, aliases=SCIPY_ALIASES, refused=refused)


# pandas

PANDAS_INTEGERS = tuple(f"{sign}Int{bits}Dtype" for sign in ("", "U") for bits in (8, 16, 32, 64))
PANDAS_FLOATS = ("Float32Dtype", "Float64Dtype")
PANDAS_CLASSES = {
    "pandas": (
        "ArrowDtype", "BooleanDtype", "Categorical", "CategoricalDtype", "CategoricalIndex", "DataFrame",
        "DateOffset", "DatetimeIndex", "DatetimeTZDtype", "Index", "IntervalDtype",
        "IntervalIndex", "MultiIndex", "PeriodIndex", "RangeIndex", "Series", "SparseDtype", "TimedeltaIndex",
        *PANDAS_INTEGERS, *PANDAS_FLOATS,
    ),
    "pandas.core.frame": ("DataFrame",),
    "pandas.core.series": ("Series",),
    "pandas.core.flags": ("Flags",),
    "pandas.core.indexes.base": ("Index",),
    "pandas.core.indexes.multi": ("MultiIndex",),
    "pandas.core.indexes.numeric": ("Float64Index", "Int64Index", "UInt64Index"),
    "pandas.core.indexes.range": ("RangeIndex",),
    "pandas.core.indexes.category": ("CategoricalIndex",),
    "pandas.core.indexes.interval": ("IntervalIndex",),
    "pandas.core.indexes.datetimes": ("DatetimeIndex",),
    "pandas.core.indexes.timedeltas": ("TimedeltaIndex",),
    "pandas.core.indexes.period": ("PeriodIndex",),
    "pandas.core.internals.managers": ("BlockManager", "SingleBlockManager"),
    "pandas.core.arrays.categorical": ("Categorical",),
    "pandas.core.arrays.datetimes": ("DatetimeArray",),
    "pandas.core.arrays.timedeltas": ("TimedeltaArray",),
    "pandas.core.arrays.string_": ("StringArray", "StringDtype"),
    "pandas.core.arrays.numpy_": ("NumpyExtensionArray", "PandasArray"),
    "pandas.core.arrays.boolean": ("BooleanArray", "BooleanDtype"),
    "pandas.core.arrays.integer": (*PANDAS_INTEGERS, "IntegerArray"),
    "pandas.core.arrays.floating": (*PANDAS_FLOATS, "FloatingArray"),
    "pandas.core.arrays.sparse.array": ("SparseArray",),
    "pandas.core.arrays.sparse.dtype": ("SparseDtype",),
    "pandas.arrays": (
        "ArrowStringArray", "BooleanArray", "Categorical", "DatetimeArray", "FloatingArray",
        "ArrowExtensionArray", "IntervalArray", "PeriodArray", "IntegerArray", "NumpyExtensionArray", "SparseArray", "StringArray", "TimedeltaArray",
    ),
    "pandas.core.arrays.arrow.array": ("ArrowExtensionArray",),
    "pandas.core.arrays.arrow.dtype": ("ArrowDtype",),
    "pandas.core.arrays.string_arrow": ("ArrowStringArray", "ArrowStringArrayNumpySemantics"),
    "pandas.core.dtypes.dtypes": (
        "ArrowDtype", "CategoricalDtype", "DatetimeTZDtype", "IntervalDtype", "SparseDtype",
    ),
    "pandas.core.arrays.period": ("PeriodArray",),
    "pandas.core.arrays.interval": ("IntervalArray",),
    "pandas._libs.tslibs.offsets": ("DateOffset",),
    "dateutil.relativedelta": ("relativedelta",),
}  # fmt: skip
PANDAS_FUNCTIONS = {
    "pandas._libs.internals": ("_unpickle_block",),
    "pandas._libs.sparse": ("BlockIndex", "IntIndex"),
    "pandas._libs.interval": ("Interval", "__pyx_unpickle_IntervalMixin"),
    "pandas._libs.tslibs.offsets": (
        "BDay", "BusinessDay", "Day", "Hour", "Micro", "Milli", "Minute", "MonthBegin", "MonthEnd", "Nano",
        "QuarterBegin", "QuarterEnd", "Second", "Week", "YearBegin", "YearEnd",
    ),
    "pandas._libs.tslibs.period": ("Period", "_unpickle_period"),
    "pandas.core.indexes.interval": ("_new_IntervalIndex",),
    "pandas._libs.arrays": ("__pyx_unpickle_NDArrayBacked",),
    "pandas._libs.tslibs.timestamps": ("_unpickle_timestamp",),
    "pandas._libs.tslibs.timedeltas": ("_timedelta_unpickle",),
    "pandas._libs.missing": ("_nat_unpickle",),
    "pandas._libs.tslibs.nattype": ("__nat_unpickle", "_nat_unpickle"),
    "pandas.core.indexes.base": ("_new_Index",),
    "pandas.core.indexes.datetimes": ("_new_DatetimeIndex",),
    "pandas.core.indexes.timedeltas": ("_new_TimedeltaIndex",),
    "pandas.core.internals.managers": ("BlockManager", "SingleBlockManager"),
    "pandas.core.dtypes.dtypes": ("CategoricalDtype", "DatetimeTZDtype", "PeriodDtype"),
    "pandas.core.arrays.string_": ("StringDtype",),
    # The zones of pandas before 3.
    "pytz": ("FixedOffset", "_UTC", "_p"),
    "pandas": (
        "CategoricalDtype", "DateOffset", "DatetimeTZDtype", "Interval", "Period", "PeriodDtype", "StringDtype",
    ),
}  # fmt: skip
PANDAS_REFERENCES = {
    "pandas": (
        "DataFrame", "Index", "NA", "Series", "isna", "isnull", "notna", "notnull", "get_dummies", "to_datetime", "to_numeric",
    ),
    "pandas.core.reshape.encoding": ("get_dummies",),
    "pandas.core.reshape.reshape": ("get_dummies",),
    "pandas.core.tools.datetimes": ("to_datetime",),
    "pandas.core.tools.numeric": ("to_numeric",),
    "pandas.core.frame": ("DataFrame",),
    "pandas.core.series": ("Series",),
    "pandas.core.dtypes.missing": ("isna", "notna"),
    "pandas.core.indexes.base": ("Index",),
    "pandas._libs.missing": ("NA",),
}  # fmt: skip


PANDAS_METHODS = (
    "abs", "add", "all", "any", "astype", "bfill", "clip", "convert_dtypes", "copy", "count", "cummax", "cummin",
    "cumprod", "cumsum", "diff", "div", "drop", "drop_duplicates", "dropna", "ffill", "fillna", "idxmax", "idxmin",
    "infer_objects", "interpolate", "isin", "isna", "isnull", "max", "mean", "median", "min", "mode", "mul", "notna",
    "notnull", "nunique", "pct_change", "prod", "quantile", "rank", "rename", "replace", "reset_index", "round",
    "select_dtypes", "shift", "sort_index", "sort_values", "squeeze", "std", "sub", "sum", "to_dict", "to_frame",
    "to_list", "to_numpy", "tolist", "transpose", "var",
)  # fmt: skip
"""Methods of frames and columns that compute: none writes, and none evaluates what it is given."""


def pandas_table() -> dict[str, Any]:
    """List pandas: frames, indexes and arrays that estimators carry along."""
    import pandas as pd

    references = defaultdict(set, {home: set(names) for home, names in PANDAS_REFERENCES.items()})
    for cls in (pd.DataFrame, pd.Series):
        add_methods(references, cls, PANDAS_METHODS)
    return table("pandas", PANDAS_CLASSES, PANDAS_FUNCTIONS, references)


# Arrow, in which pandas keeps texts

PYARROW_FUNCTIONS = {
    "pyarrow.lib": (
        "_restore_array", "chunked_array", "duration", "py_buffer", "timestamp", "type_for_alias",
    ),
}  # fmt: skip
"""Each has an argument rule in `audits/arrow.py`."""


def pyarrow_table() -> dict[str, Any]:
    """List the functions by which Arrow restores an array."""
    return table("pyarrow", {}, PYARROW_FUNCTIONS, {})


# Python itself and the small ones

PYTHON_CLASSES = {
    "argparse": ("Namespace",),
    "builtins": ("object",),
    "collections": ("ChainMap", "Counter", "OrderedDict", "UserDict", "UserList"),
    "random": ("Random",),
    "types": ("SimpleNamespace",),
    "uuid": ("UUID",),
    "functools": ("partial",),
}
PYTHON_FUNCTIONS = {
    "_codecs": ("encode",),
    "array": ("_array_reconstructor", "array"),
    "builtins": (
        "bytearray", "bytes", "complex", "dict", "frozenset", "getattr", "list", "range", "set", "slice",
        "tuple", "type",
    ),
    "collections": ("Counter", "OrderedDict", "defaultdict", "deque"),
    "copyreg": ("__newobj__", "_reconstructor"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "functools": ("partial",),
    "logging": ("getLogger",),
    "operator": ("itemgetter",),
    "pathlib": ("PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "random": ("Random",),
    "re": ("_compile",),
    "time": ("struct_time",),
    "types": ("SimpleNamespace",),
}  # fmt: skip
PYTHON_REFERENCES = {
    "builtins": (
        "abs", "bool", "bytes", "complex", "dict", "float", "frozenset", "int", "len", "list",
        "max", "min", "Ellipsis", "NotImplemented", "object", "range", "round", "set", "slice", "sorted", "str", "sum", "tuple",
    ),
    "collections": ("OrderedDict",),
    "zoneinfo": ("ZoneInfo",),
    "_operator": (
        "abs", "add", "and_", "eq", "floordiv", "ge", "gt", "inv", "le", "lt", "matmul", "mod", "mul", "ne",
        "neg", "not_", "or_", "pos", "pow", "sub", "truediv", "xor",
    ),
    "statistics": (
        "fmean", "geometric_mean", "harmonic_mean", "mean", "median", "median_high", "median_low", "mode",
        "pstdev", "pvariance", "stdev", "variance",
    ),
}  # fmt: skip


def python_table() -> dict[str, Any]:
    """List the few names of Python's own library."""
    references = {home: set(names) for home, names in PYTHON_REFERENCES.items()}
    math = importlib.import_module("math")
    references["math"] = {
        key for key, value in vars(math).items() if isinstance(value, types.BuiltinFunctionType)
    }
    number = ".".join(map(str, sys.version_info[:3]))
    return table(
        "python",
        PYTHON_CLASSES,
        PYTHON_FUNCTIONS,
        references,
        aliases={"pathlib._local": "pathlib"},
        versions=(number,),
    )


def cloudpickle_table() -> dict[str, Any]:
    """List cloudpickle: the type of methods, and nothing else that its files may ask for."""
    return table("cloudpickle", {}, {"cloudpickle.cloudpickle": ("_builtin_type",)}, {})


def joblib_table() -> dict[str, Any]:
    """List joblib: the wrapper of its arrays, whose bytes the audit steps over, and what a pipeline fits with.

    A memory is asked when a pipeline is fitted, which no opened model is.
    """
    classes = {
        "joblib._store_backends": ("FileSystemStoreBackend",),
        "joblib.memory": ("Memory",),
        "joblib.numpy_pickle": ("NumpyArrayWrapper",),
    }
    return table("joblib", classes, {}, {})


def table(
    library: str,
    classes: Any,
    functions: Any,
    references: Any,
    *,
    aliases: dict[str, str] | None = None,
    versions: tuple[str, ...] = (),
    refused: Any = (),
) -> dict[str, Any]:
    """Return a table in the form of its file: sorted, without empty modules."""
    return {
        "library": library,
        "versions": list(versions or (version(library),)),
        "aliases": aliases or {},
        "classes": ordered(classes),
        "functions": ordered(functions),
        "references": ordered(references),
        "refused": ordered(dict(refused)),
        "methods": methods(classes) if library in ESTIMATORS else [],
    }


ESTIMATORS = {"catboost", "imbalanced-learn", "lightgbm", "scikit-learn", "xgboost", "xgboost-cpu"}
"""Libraries whose objects are asked for their answers."""


def methods(classes: Any) -> list[str]:
    """Return the names of all methods of these classes; an attribute may not stand in front of one."""
    found: set[str] = set()
    parameters: set[str] = set()
    for home, names in classes.items():
        module = importlib.import_module(home)
        for cls in (getattr(module, name, None) for name in names):
            for base in getattr(cls, "__mro__", ())[:-1]:
                found.update(key for key, value in vars(base).items() if is_method(value))
            if isinstance(cls, type):
                parameters.update(inspect.signature(cls.__init__).parameters)
    kept = found - parameters - NOT_METHODS
    return sorted(name for name in kept if not name.startswith("__"))


NOT_METHODS = {"link"}
"""Methods of some classes that are attributes of others, as are those with the name of a parameter."""


def is_method(value: Any) -> bool:
    """Tell whether something in a class is called on its objects."""
    return isinstance(value, classmethod | staticmethod) or (
        callable(value) and not isinstance(value, type)
    )


def distribution(*names: str) -> str:
    """Return the one of several distributions of a library that is installed."""
    for name in names:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        return name
    raise PackageNotFoundError(names[0])


def ordered(found: Any) -> dict[str, list[str]]:
    """Sort modules and names."""
    return {home: sorted(found[home]) for home in sorted(found) if found[home]}


TABLES = {
    "catboost": catboost_table,
    "cloudpickle": cloudpickle_table,
    "imbalanced-learn": imblearn_table,
    "joblib": joblib_table,
    "lightgbm": lightgbm_table,
    "numpy": numpy_table,
    "pandas": pandas_table,
    "pyarrow": pyarrow_table,
    "python": python_table,
    "scikit-learn": sklearn_table,
    "scipy": scipy_table,
    "xgboost": xgboost_table,
}


def main() -> None:
    """Write the tables of the libraries that are here to the standard output."""
    warnings.simplefilter("ignore")
    found = {}
    for library, make in TABLES.items():
        try:
            found[library] = make()
        except ImportError:  # a library that is not here
            continue
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
