"""The documents of an MLflow folder, read without MLflow: plain YAML and JSON, bounded."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from cannery.errors import SourceError
from cannery.signatures import Feature, Kind

log = logging.getLogger(__name__)

_NODES = 500_000
"""Values that a document may hold: a YAML of aliases can name many more than it has bytes."""
_DEPTH = 60
_EXAMPLES = 1000

_KINDS: dict[str, Kind] = {
    "integer": "long",
    "long": "long",
    "float": "double",
    "double": "double",
    "boolean": "boolean",
    "string": "string",
}
_KEYS = {
    "sklearn": "pickled_model",
    **dict.fromkeys(("onnx", "xgboost", "lightgbm", "catboost"), "data"),
    "python_function": "",
}
"""Flavor → the key under which it names the model file."""
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([A-Za-z0-9.!+_-]+)\s*(?:[;#].*)?")


def parse_yaml(data: bytes, name: str) -> Mapping[str, Any]:
    """Return the mapping in a YAML document; raises SourceError for anything else."""
    try:
        document = yaml.safe_load(data)
        _bounded(document)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise SourceError(f"'{name}' can't be read as YAML: {first}") from error
    if not isinstance(document, dict):
        raise SourceError(f"'{name}' is not a mapping, but {type(document).__name__}")
    return document


def _bounded(document: object) -> None:
    """Raise ValueError when a document, its aliases written out, is too large or too deep."""
    left = _NODES
    stack = [(document, 0)]
    while stack:
        value, depth = stack.pop()
        left -= 1
        if left < 0 or depth > _DEPTH:
            raise ValueError("too large once its aliases are written out")
        if isinstance(value, dict):
            stack += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, list | tuple | set):
            stack += [(part, depth + 1) for part in value]


def model_file(document: Mapping[str, Any]) -> str:
    """Return the path of the model file that an `MLmodel` names.

    Raises SourceError for a flavour that Cannery can't read and for a path that leaves the folder.
    """
    flavors = document.get("flavors")
    if not isinstance(flavors, dict) or not flavors:
        raise SourceError("'MLmodel' names no flavors", hint="save the model with MLflow again")
    for flavor, key in _KEYS.items():
        spec = flavors.get(flavor)
        if not isinstance(spec, dict):
            continue
        if flavor == "python_function":
            spec, key = _generic(spec, flavors)
        name = spec.get(key)
        if isinstance(name, str):
            return _inside(name, f"flavors.{flavor}.{key}")
    listed = ", ".join(sorted(str(f) for f in flavors))
    raise SourceError(
        f"the flavors of this MLflow model ({listed}) are not supported yet",
        hint=f"log it with one of the flavors {', '.join(list(_KEYS)[:-1])}",
    )


def _generic(spec: dict[str, Any], flavors: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return where a python_function model says its file is, if it has no flavor of its own."""
    others = sorted(set(flavors) - {"python_function"})
    if others:
        return {}, ""
    for key in ("python_model", "model_path", "data"):
        if isinstance(spec.get(key), str):
            return spec, key
    return {}, ""


def _inside(name: str, place: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise SourceError(f"the path '{name}' in 'MLmodel', {place}, leaves the model's folder")
    return str(path)


def recorded_features(document: Mapping[str, Any]) -> tuple[Feature, ...] | None:
    """Return the features of the recorded signature.

    None where there is no signature, or one that no features can hold: tensors, columns without
    names, dates, objects. Raises SourceError for one that can't be read.
    """
    signature = document.get("signature")
    if not isinstance(signature, dict) or not signature.get("inputs"):
        return None
    try:
        columns = json.loads(signature["inputs"])
        features = [_feature(column) for column in columns]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SourceError("the signature in 'MLmodel' can't be read") from error
    if any(feature is None for feature in features):
        log.info("the recorded signature holds types that can't be features: it is left aside")
        return None
    return tuple(f for f in features if f is not None)


def _feature(column: Mapping[str, Any]) -> Feature | None:
    kind = _KINDS.get(str(column["type"]))
    name = column.get("name")
    if kind is None or not isinstance(name, str):
        return None
    required = column.get("required", not column.get("optional", False))
    return Feature(name=name, type=kind, nullable=not required)


def example_file(document: Mapping[str, Any]) -> str | None:
    """Return the name of the recorded input example, where it is a data frame or an array."""
    info = document.get("saved_input_example_info")
    if isinstance(info, dict) and info.get("type") in ("dataframe", "ndarray"):
        name = info.get("artifact_path")
        return name if isinstance(name, str) else None
    return None


def recorded_example(data: bytes) -> tuple[dict[str, Any], ...]:
    """Return the recorded input example as records; none where it isn't a table of plain values.

    The columns of an array are called `x0`, `x1` and so on, as scikit-learn does.
    """
    try:
        document = json.loads(data)
        if isinstance(document, list):
            columns, rows = [f"x{n}" for n in range(len(document[0]))], document
        else:
            document = document.get("dataframe_split", document)
            columns, rows = document["columns"], document["data"]
        records = [
            {str(c): _plain(v) for c, v in zip(columns, row, strict=True)}
            for row in rows[:_EXAMPLES]
        ]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        log.warning("the recorded input example can't be read: %s", error)
        return ()
    return tuple(records)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | dict):
        raise TypeError("a cell holds more than one value")
    return value


def recorded_requirements(text: str) -> tuple[str, ...]:
    """Return the `name==version` lines of a requirements.txt, without MLflow itself."""
    pins = (_PIN.fullmatch(line.strip()) for line in text.splitlines())
    return tuple(
        f"{pin[1]}=={pin[2]}"
        for pin in pins
        if pin and pin[1].lower() not in ("mlflow", "mlflow-skinny", "mlflow-tracing")
    )


def recorded_python(
    document: Mapping[str, Any], environments: Sequence[Mapping[str, Any]]
) -> str | None:
    """Return the version of Python that `python_env.yaml`, `conda.yaml`, or else the `MLmodel`, names."""
    flavors = document.get("flavors") or {}
    generic = flavors.get("python_function") if isinstance(flavors, dict) else None
    told = [e.get("python") for e in environments]
    told += [
        word.removeprefix("python").lstrip("= ")
        for e in environments
        for word in e.get("dependencies") or ()
        if isinstance(word, str) and re.fullmatch(r"python\s*=+\s*[0-9.]+", word)
    ]
    told += [generic.get("python_version") if isinstance(generic, dict) else None]
    for version in told:
        if isinstance(version, float):  # 3.10 without quotation marks
            return "3.10" if version == 3.1 else str(version)
        if isinstance(version, str):
            return version
    return None
