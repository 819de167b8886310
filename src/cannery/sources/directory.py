"""A folder as a source: an MLflow model or a can, every file of it accounted for."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from cannery.blobs import Blob
from cannery.errors import SourceError
from cannery.sources.external import Find, gathered
from cannery.sources.holding import hold
from cannery.sources.mlmodel import (
    example_file,
    model_file,
    parse_yaml,
    recorded_example,
    recorded_features,
    recorded_python,
    recorded_requirements,
)
from cannery.sources.sniff import sniff_blob
from cannery.sources.source import Origin, Source

CAN = "can.json"
MLMODEL = "MLmodel"

_LEFT_OUT = frozenset({"registered_model_meta"})
"""MLflow writes it when it downloads: it is no part of the model."""
_MOST_FILES = 10_000
_DOCUMENT = 4 << 20
"""Bytes of the longest document that is parsed."""

_FOREIGN = {
    "saved_model.pb": "a TensorFlow model",
    "keras_metadata.pb": "a Keras model",
    "pytorch_model.bin": "a Transformers model",
    "config.json": "a Transformers model",
}


def read_folder(folder: Path, origin: Origin) -> Source:
    """Return the MLflow model or the can in `folder`; every file of it is hashed, none is opened.

    Raises SourceError for a folder that is neither, and for links and devices in it.
    """
    names = sorted(_names(folder))
    if CAN in names:
        return Source(origin=origin, format="can", main=CAN, files=_hashed(folder, names))
    if MLMODEL not in names:
        raise _neither(folder, names)
    document = parse_yaml(_bytes(Blob.of(folder / MLMODEL)), MLMODEL)
    main = model_file(document)
    if main not in names:
        raise SourceError(
            f"'MLmodel' names the file '{main}', which is not in '{folder}'",
            hint="was the folder copied whole?",
        )
    blob, parts = gathered(hold(folder / main), _near(folder, main, names))
    inside = {main, *(str(PurePosixPath(main).parent / name) for name in parts)}
    files = {**_hashed(folder, [n for n in names if n not in inside]), main: blob}
    return Source(
        origin=_lineage(origin, document),
        format=sniff_blob(blob),
        main=main,
        files=files,
        mlmodel=document,
        features=recorded_features(document),
        **_beside(document, files),
    )


def _near(folder: Path, main: str, names: Collection[str]) -> Find:
    """Let a graph find files beside it in its folder."""

    def find(name: str) -> Blob | None:
        path = str(PurePosixPath(main).parent / name)
        return hold(folder / path) if path != main and path in names else None

    return find


def _hashed(folder: Path, names: list[str]) -> dict[str, Blob]:
    return {name: Blob.of(folder / name) for name in names}


def _names(folder: Path) -> Iterator[str]:
    """Yield every file below `folder`, relative to it; raises SourceError for a link or a device."""
    stack, count = [folder], 0
    while stack:
        for entry in _entries(stack.pop()):
            path = Path(entry.path)
            name = path.relative_to(folder).as_posix()
            count += 1
            if count > _MOST_FILES:
                raise SourceError(
                    f"'{folder}' holds more than {_MOST_FILES} files: no model folder"
                )
            if entry.is_dir(follow_symlinks=False):
                stack.append(path)
            elif not entry.is_file(follow_symlinks=False):
                raise SourceError(
                    f"'{name}' in '{folder}' is a link or a device",
                    hint="a model folder holds plain files alone: copy it with its links resolved",
                )
            elif name not in _LEFT_OUT:
                yield name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError as error:
        raise SourceError(f"can't read '{folder}': {error.strerror}") from error


def _neither(folder: Path, names: list[str]) -> SourceError:
    for name, what in _FOREIGN.items():
        if name in names:
            return SourceError(
                f"'{folder}' is {what}", hint="convert it to ONNX and name that file"
            )
    nested = sorted(n.rpartition("/")[0] for n in names if n.endswith((f"/{MLMODEL}", f"/{CAN}")))
    if nested:
        return SourceError(
            f"'{folder}' is no model folder, but holds one", hint=f"name '{folder / nested[0]}'"
        )
    listed = ", ".join(names[:5]) or "nothing"
    return SourceError(
        f"'{folder}' has neither {MLMODEL} nor {CAN} (it holds {listed})",
        hint="name the model file itself, or the folder that MLflow wrote",
    )


def _bytes(blob: Blob) -> bytes:
    return blob.read(limit=_DOCUMENT)


def _lineage(origin: Origin, document: Mapping[str, Any]) -> Origin:
    """Add the run and the model id that the folder itself names, where the address didn't tell."""
    return msgspec.structs.replace(
        origin,
        run_id=origin.run_id or _text(document.get("run_id")),
        model_id=origin.model_id or _text(document.get("model_id")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _beside(document: Mapping[str, Any], files: Mapping[str, Blob]) -> dict[str, Any]:
    """Return what the documents beside the model say: example, requirements, Python."""
    example = files.get(example_file(document) or "") or files.get("serving_input_example.json")
    requirements = files.get("requirements.txt")
    environments = [
        parse_yaml(_bytes(files[name]), name)
        for name in ("python_env.yaml", "conda.yaml")
        if name in files
    ]
    text = _bytes(requirements).decode("utf-8", "replace") if requirements else ""
    return {
        "example": recorded_example(_bytes(example)) if example else (),
        "requirements": recorded_requirements(text),
        "python": recorded_python(document, environments),
    }
