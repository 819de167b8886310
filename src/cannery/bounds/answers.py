"""How much an estimator says that it answers, and how its members are asked.

It makes room for that, and names for it, before it looks.
"""

from __future__ import annotations

from collections.abc import Mapping

from cannery.bounds.things import WHOLE, Items, Numbers, Parts, Thing, attributes, whole

_TURNS = 1 << 20
MOST = {
    "_max_degree": 1 << 10,
    "_max_iter": _TURNS,
    "_n_classes": 1 << 16,
    "_n_features_out": 1 << 24,
    "_transform_max_iter": _TURNS,
    "degree": 1 << 16,
    "max_doc_update_iter": _TURNS,
    "n_classes_": 1 << 16,
    "n_features_out_": 1 << 24,
    "n_outputs_": 1 << 16,
    "transform_max_iter": _TURNS,
}
"""Of what → how many: with more, a row takes seconds, or more memory than there is."""


def counts(thing: Thing) -> str | None:
    """Judge the numbers of classes, targets and columns, which are a list where each target has its own."""
    state = thing.state
    if type(state) is not Parts and not isinstance(state, Mapping):
        return None
    for name, most in MOST.items():
        told = state.get(name)
        if told is None:
            continue
        if isinstance(told, Numbers):
            told = whole(told)
        elif not isinstance(told, Items):
            told = (told,)
        for number in told:
            if isinstance(number, WHOLE) and number > most:
                return f"says that it has more than {most} of '{name}'"
    return None


def turns(thing: Thing) -> str | None:
    """Judge how often a decomposition may go over a row, which others do in training alone."""
    told = attributes(thing).get("max_iter")
    if isinstance(told, WHOLE) and told > _TURNS:
        return f"goes over a row more than {_TURNS} times"
    return None


_NAMING = ("chain_method", "chain_method_", "response_method", "stack_method", "stack_method_")
_ASKED = frozenset({"auto", "decision_function", "predict", "predict_log_proba", "predict_proba"})


def methods(thing: Thing) -> str | None:
    """Judge the names of methods by which members are asked: a path among them would be deleted by `unlink`."""
    state = attributes(thing)
    for name in _NAMING:
        told = state.get(name)
        for method in told if isinstance(told, Items) else (told,):
            if method is not None and method not in _ASKED:
                return "asks its members by a method that no model is asked by"
    return None
