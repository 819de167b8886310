"""Support vectors, centres of clusters, and columns of hashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cannery.bounds.things import (
    BrokenThingError,
    Items,
    Numbers,
    Thing,
    attributes,
    integer,
    numbers,
    whole,
    width,
    within,
)

_THREADS = 1 << 12
_CLASSIFIERS = ("SVC", "NuSVC")


def machine(thing: Thing) -> str | None:
    """Judge the arrays that libsvm follows."""
    state = attributes(thing)
    if "support_vectors_" not in state:
        return None
    if (
        "_impl" in state
    ):  # its class says so: libsvm would read the arrays of another kind of machine
        return "says itself which kind of machine it is"
    places, sizes = numbers(state["support_"], 1), numbers(state["_n_support"], 1, "i")
    vectors = places.shape[0]
    groups = sizes.shape[0]
    pairs = groups * (groups - 1) // 2
    if groups < 2 or not within(sizes, 0, vectors + 1):
        return "has an impossible number of support vectors"
    if thing.name.endswith(_CLASSIFIERS) and int(whole(sizes).sum()) != vectors:
        return "has another number of support vectors than its classes"
    fitted = state.get("shape_fit_")
    if not isinstance(fitted, Items) or not within(places, 0, integer(fitted[0])):
        return "has support vectors that are no rows of its training"
    if numbers(state["_intercept_"], 1, "f").shape[0] < pairs:
        return "has too few intercepts for its classes"
    for name in ("_probA", "_probB"):
        if name in state and 0 < numbers(state[name], 1, "f").shape[0] < pairs:
            return "has too few probabilities for its classes"
    return _weights(state, thing, (groups - 1, vectors))


def _weights(state: Mapping[str, Any], thing: Thing, shape: tuple[int, int]) -> str | None:
    """Judge weights and vectors; in a sparse model both are sparse, and checked as such too."""
    weights, vectors = state["_dual_coef_"], state["support_vectors_"]
    if isinstance(weights, Numbers):
        if numbers(weights, 2, "f").shape != shape:
            return "has weights for other support vectors"
    elif not isinstance(weights, Thing) or numbers(attributes(weights)["data"], 1, "f").shape != (
        shape[0] * shape[1],
    ):
        return "has weights for other support vectors"
    if isinstance(vectors, Thing):
        rows, columns = attributes(vectors)["_shape"]
        found: tuple[int, ...] = (integer(rows), integer(columns))
    else:
        found = numbers(vectors, 2, "f").shape
        if found[0] == 0 and state.get("kernel") == "precomputed":
            return None
    if not isinstance(state.get("kernel"), str):
        return None  # what Python computes is measured there
    expected = (shape[1], width(thing))
    return None if found == expected else "has support vectors of another shape"


def centres(thing: Thing) -> str | None:
    """Judge the centres of clusters, which are compared with whole rows."""
    state = attributes(thing)
    if "cluster_centers_" not in state:
        return None
    shape = numbers(state["cluster_centers_"], 2, "f").shape
    if shape[1] != width(thing):
        return "has centres of other columns than it takes"
    if not 1 <= integer(state.get("_n_threads", 1)) <= _THREADS:
        return "has an impossible number of threads"  # with none, the process ends
    waiting, seen = [state.get("_bisecting_tree")], 0
    while waiting:
        node = waiting.pop()
        if not isinstance(node, Thing):
            continue
        seen += 1
        if seen > 4 * shape[0]:
            return "has centres that go round in circles"
        inside = attributes(node)
        if numbers(inside["center"], 1, "f").shape != (shape[1],):
            return "has centres of other columns than it takes"
        waiting += [inside.get("left"), inside.get("right")]
    return None


def subclusters(thing: Thing) -> str | None:
    """Judge the centres of a tree of clusters, and their norms."""
    state = attributes(thing)
    if "subcluster_centers_" not in state:
        return None
    shape = numbers(state["subcluster_centers_"], 2, "f").shape
    norms = state.get("_subcluster_norms")
    if shape[1] != width(thing) or (
        norms is not None and numbers(norms, 1, "f").shape != shape[:1]
    ):
        return "has centres of other columns, or other norms, than it takes"
    return None


def spline(thing: Thing) -> str | None:
    """Judge a spline: as many coefficients as its knots ask for."""
    state = attributes(thing)
    # The arrays are behind properties since scipy 1.15.
    knots, factors = (state.get(name, state.get(f"_{name}")) for name in ("t", "c"))
    knots, degree = numbers(knots, 1, "f"), integer(state["k"])
    if not isinstance(factors, Numbers) or factors.dtype.kind not in "fc" or not factors.shape:
        raise BrokenThingError("has no coefficients")
    if degree < 0 or knots.shape[0] < 2 * degree + 2:
        return "has too few knots"
    return None if factors.shape[0] >= knots.shape[0] - degree - 1 else "has too few coefficients"


def density(thing: Thing) -> str | None:
    """Judge an estimate of a density: a weight for every row, and a matrix of its columns."""
    state = attributes(thing)
    columns, rows = numbers(state["dataset"], 2, "f").shape
    weights = state.get("_weights")
    if weights is not None and numbers(weights, 1, "f").shape != (rows,):
        return "has weights for other rows"
    for key in ("cho_cov", "covariance", "inv_cov"):
        if key in state and numbers(state[key], 2, "f").shape != (columns, columns):
            return "has a matrix of other columns"
    return None


def hashed(thing: Thing) -> str | None:
    """Judge the columns over which words are spread: compiled code divides by their number."""
    columns = attributes(thing).get("n_features", 1)
    return None if 1 <= integer(columns) < 1 << 31 else "has no columns to spread words over"
