"""A person's review of names, written into the settings: one line more for each, and nothing else changed."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cannery.audits.ledger import remedy_for
from cannery.audits.listing import listing
from cannery.blobs import write_file
from cannery.errors import OutputError, UnsafeError, UsageError
from cannery.settings import LIMIT, load_settings, parse_settings

_ENTRY = re.compile(r"""([ \t]*(?:(?:tool\.cannery\.)?(?:trust\.)?names\.)?)["']""")
"""A line that trusts a name, in any of the ways in which TOML can say so."""
_HEADER = re.compile(r"[ \t]*\[[ \t]*(?:tool\.cannery\.)?trust(\.names)?[ \t]*\]")
_INLINE = re.compile(r"names[ \t]*=[ \t]*\{[ \t]*(?=[^\s}])")
_TEXT = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""


def trust(
    names: Sequence[str], reason: str, *, folder: Path, file: Path | None, force: bool
) -> Path:
    """Add `names."name" = "reason"` for each under [trust] of the settings in force; returns their file.

    These are `file`, else what `load_settings` finds in `folder`, else a new `cannery.toml` there.
    Comments and layout stay. Raises UsageError for a name that a policy can't hold and for a reason
    that says nothing, UnsafeError for a name that trusting would not lift, OutputError for one that
    is trusted already, unless `force` is given. Then nothing is written.
    """
    settings = load_settings(folder, file)
    path = (settings.found or folder / "cannery.toml").resolve()
    text = _read(path) if settings.found else ""
    for name in names:
        _check(name, reason)
        if name in settings.trust.names and not force:
            raise OutputError(
                f"'{name}' is trusted already: {settings.trust.names[name]}",
                hint="give the new reason with --force",
            )
        text = _added(text, path, name, reason)
    with write_file(path) as stream:
        stream.write(text.encode())
    return path


def _added(text: str, path: Path, name: str, reason: str) -> str:
    """Return the text with one name more; raises UsageError."""
    wanted = _with(_parse(text), _keys(path), name, reason)
    parse_settings(_ours(wanted, path), path)
    for candidate in _candidates(text, path, name, reason):
        if _parse(candidate) == wanted:
            return candidate
    raise UsageError(
        f"can't add '{name}' to '{path}' without changing what else it says",
        hint=f"write it there by hand: [trust] names.{_line(name, reason)}",
    )


def _check(name: str, reason: str) -> None:
    module, _, qualname = name.rpartition(".")
    if module and listing().is_dangerous(module, qualname):
        raise UnsafeError(
            f"'{name}' is known from attacks: a file that reaches it stays unsafe, trusted or not",
            hint="no honest model needs that: find out who made the file",
        )
    if name.startswith("__main__."):
        raise UsageError(f"'{name}' can't be found again", hint=remedy_for(name))
    if not reason.strip() or not reason.isprintable():
        raise UsageError(
            f"the reason {reason!r} says nothing that a reader could judge",
            hint="say in one line what you reviewed, and when",
        )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(LIMIT).decode()
    except OSError as error:
        raise UsageError(f"can't read '{path}': {error.strerror}") from error


def _parse(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _keys(path: Path) -> tuple[str, ...]:
    return ("tool", "cannery") if path.name == "pyproject.toml" else ()


def _with(
    document: dict[str, Any] | None, keys: tuple[str, ...], name: str, reason: str
) -> dict[str, Any]:
    """Return the document that is wanted: the old one, and the name in its place."""
    wanted = copy.deepcopy(document or {})
    table = wanted
    for key in (*keys, "trust", "names"):
        table = table.setdefault(key, {})
    table[name] = reason
    return wanted


def _ours(document: dict[str, Any], path: Path) -> dict[str, Any]:
    for key in _keys(path):
        document = document[key]
    return document


def _line(name: str, reason: str) -> str:
    """Return the entry in TOML, whose basic strings are those of JSON."""
    return f'"{name}" = {json.dumps(reason, ensure_ascii=False)}'


def _candidates(text: str, path: Path, name: str, reason: str) -> Iterator[str]:
    """Yield texts that may say what is wanted, the most natural first; the caller parses each."""
    entry = _line(name, reason)
    held = re.compile(rf"""(["']){re.escape(name)}\1[ \t]*=[ \t]*{_TEXT}""")
    for match in held.finditer(text):
        yield text[: match.start()] + entry + text[match.end() :]
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    for index in reversed(range(len(lines))):
        if (lead := _lead(lines[index])) is not None:
            before = lines[index].rstrip("\r\n") + end
            yield "".join([*lines[:index], before, lead + entry + end, *lines[index + 1 :]])
    for match in _INLINE.finditer(text):
        yield f"{text[: match.end()]}{entry}, {text[match.end() :]}"
    gap = "" if not text else end if text.endswith("\n") else end * 2
    header = ".".join((*_keys(path), "trust"))
    yield f"{text}{gap}[{header}]{end}names.{entry}{end}"


def _lead(line: str) -> str | None:
    """Return what stands before the name in an entry that follows this line; None where none can."""
    if match := _ENTRY.match(line):
        return match[1]
    if match := _HEADER.match(line):
        return "" if match[1] else "names."
    return None
