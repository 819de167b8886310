"""A sweep: the models among files, folders and globs, audited one after another under one policy."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cannery.audits.audit import audit, audit_bytes
from cannery.audits.contents import compressor, content
from cannery.audits.findings import Audit, Finding, Verdict
from cannery.audits.policy import Policy, objections
from cannery.cans.open import open_can
from cannery.errors import CanError, CutShortError, SourceError
from cannery.sources.directory import CAN, MLMODEL
from cannery.sources.fetch import fetch, require
from cannery.sources.holding import hold
from cannery.sources.sniff import sniff
from cannery.sources.source import Format, Source

SUFFIXES = (
    ".cbm", ".ckpt", ".dill", ".joblib", ".lgb", ".onnx", ".pck", ".pickle", ".pkl", ".pt", ".pth",
    ".sav", ".skops", ".ubj", ".xgb",
)  # fmt: skip
"""Names that promise a model: a file of such a name is audited even where its bytes are no model's."""

_HISTORY = frozenset({".git", ".hg", ".svn"})
"""Folders of version control, whose bytes nobody loads as a model."""

_CONTAINERS: tuple[Format, ...] = ("archive", "numpy")

_HEAD = 1 << 16
"""Bytes of a file that is no model by which it is told whether it attacks."""


class Audited(Audit, frozen=True, kw_only=True):
    """An audit, of what, and what remains of it under the policy."""

    model: str
    """Path or URI, as it was given, or below the folder that was given."""
    main: str = ""
    """The model file within a folder; '' where the model is one file."""
    compressed: bool = False
    """Whether offsets count in what the model file decompresses to."""
    judgement: Verdict
    """The verdict once the policy has lifted what it trusts."""
    standing: tuple[Finding, ...]
    """Those findings that the policy does not lift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What there is to audit."""

    models: tuple[str, ...]
    others: int
    """Files that look like no model, and were not looked at any further."""


Tell = Callable[[int, int], None]
"""Takes the number of models that are done, and of all."""


def search(words: Iterable[str]) -> Search:
    """Find the models that paths, globs and URIs name; raises SourceError where nothing is.

    Folders of MLflow and cans are one model each; any other folder is walked. What is named itself
    counts as a model, whatever it is.
    """
    models: list[str] = []
    others = 0
    for word in words:
        for named in _expanded(word):
            if _is_plain_folder(Path(named)):
                found = tuple(_walk(Path(named)))
                models += [str(path) for path, is_model in found if is_model]
                others += sum(not is_model for _, is_model in found)
            else:
                require(named)
                models.append(named)
    return Search(models=tuple(dict.fromkeys(models)), others=others)


def sweep(models: tuple[str, ...], policy: Policy, tell: Tell) -> tuple[Audited, ...]:
    """Audit every model; one that can't be read is unreadable, and does not stop the others.

    Raises SourceError for what is not there, UnreachableError for a server that does not answer.
    """
    done: list[Audited] = []
    for model in models:
        tell(len(done), len(models))
        done.append(_audited(model, policy))
    tell(len(done), len(models))
    return tuple(done)


def _expanded(word: str) -> list[str]:
    if os.path.lexists(word) or not glob.has_magic(word) or ":/" in word:
        return [word]
    matches = sorted(glob.glob(word, recursive=True, include_hidden=True))  # noqa: PTH207, hidden too
    if not matches:
        raise SourceError(f"nothing fits '{word}'", hint="** stands for any number of folders")
    return matches


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not _is_model_folder(path)


def _is_model_folder(path: Path) -> bool:
    return any(os.path.lexists(path / name) for name in (MLMODEL, CAN))


def _walk(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield what lies below a folder, in order, and whether it is a model.

    Links to files are followed, links to folders are not: they could lead round in a circle. A
    folder that can't be read counts as a model, so that it is told.
    """
    stack = [folder]
    while stack:
        path = stack.pop()
        if not path.is_dir() or (path.is_symlink() and path != folder):
            yield path, _is_model(path)
        elif path != folder and _is_model_folder(path):
            yield path, True
        else:
            try:
                names = sorted(set(os.listdir(path)) - _HISTORY, reverse=True)  # noqa: PTH208, names
            except OSError:
                yield path, True
            else:
                stack += [path / name for name in names]


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        kind = sniff(path) if path.is_file() else None
    except CutShortError:
        return True
    except SourceError:
        return _attacks(path)
    return kind is not None and (kind not in _CONTAINERS or _holds_more(path, kind))


def _attacks(path: Path) -> bool:
    """Tell whether what is no whole pickle would import a name known from attacks before it breaks."""
    try:
        with path.open("rb") as stream:
            facts = audit_bytes(stream.read(_HEAD), "pickle")
    except OSError:
        return True
    return any(finding.rule == "dangerous-name" for finding in facts.findings)


def _holds_more(path: Path, kind: Format) -> bool:
    """Tell whether an archive or an array holds pickles or more: data and packages are no models."""
    try:
        data = content(hold(path))
    except SourceError:
        return True
    facts = audit_bytes(data, kind)
    hostile = {finding.rule for finding in facts.findings if finding.severity == "unsafe"}
    return bool(facts.names or hostile - {"code"})


def _audited(model: str, policy: Policy) -> Audited:
    try:
        with tempfile.TemporaryDirectory(prefix="cannery-") as staging:
            source = _opened(fetch(model, staging=Path(staging)))
            facts = audit(source)
            compressed = source.format == "joblib" and _is_compressed(source)
    except (SourceError, CanError) as error:
        if not os.path.lexists(model):
            raise
        return _unreadable(model, error)
    standing = objections(facts, policy)
    return Audited(
        **{field: getattr(facts, field) for field in Audit.__struct_fields__},
        model=model,
        main=source.main if len(source.files) > 1 else "",
        compressed=compressed,
        judgement=_worst(standing),
        standing=standing,
    )


def _opened(source: Source) -> Source:
    """Return the model inside a can as the source, every digest checked; others as they are."""
    if source.format != "can":
        return source
    manifest = open_can(source.blob.path.parent).manifest
    return replace(source, format=manifest.runtime, main=manifest.model)


def _is_compressed(source: Source) -> bool:
    with source.blob.path.open("rb") as stream:
        return compressor(stream.read(8)) is not None


def _unreadable(model: str, error: SourceError | CanError) -> Audited:
    message = error.message.replace(str(Path(model).absolute()), model)
    finding = Finding(rule="unreadable", severity="unreadable", message=message, remedy=error.hint)
    return Audited(
        model=model,
        format="unknown",
        digest="",
        size=0,
        verdict="unreadable",
        names=(),
        findings=(finding,),
        judgement="unreadable",
        standing=(finding,),
    )


def _worst(findings: tuple[Finding, ...]) -> Verdict:
    return findings[0].severity if findings else "safe"
