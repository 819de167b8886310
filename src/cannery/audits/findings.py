"""The nouns of the audit: facts about what opening a file would do."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["safe", "review", "unsafe", "unreadable"]
Severity = Literal["review", "unsafe", "unreadable"]
Role = Literal["class", "function", "reference"]
"""How a name is used: a class that is made, a function that is called, a plain reference."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One rule broken, and where."""

    rule: str
    """Kebab-case id: `unknown-name`, `dangerous-name`, `trailing-bytes` …"""
    severity: Severity
    message: str
    """Lower case, names the value: what would happen on opening."""
    offset: int | None = None
    """Byte offset in the (decompressed) member."""
    member: str = ""
    """Path inside the file or folder: `model.pkl`, `schema.json`; '' for the file itself."""
    name: str | None = None
    """The dotted name concerned, `os.system`."""
    remedy: str | None = None


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """A name that the file reaches, in the words of the file."""

    name: str
    """`module.qualname`, e.g. `sklearn.tree._tree.Tree`."""
    role: Role
    listed: bool
    """Whether the tables list it for this role."""
    offset: int | None = None
    member: str = ""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What opening these bytes would do, found without opening them."""

    format: str
    digest: str
    """Of the model file, `sha256:…`."""
    size: int
    verdict: Verdict
    names: tuple[Reached, ...]
    findings: tuple[Finding, ...]
    versions: dict[str, str] = {}
    """Library versions found statically: `{"scikit-learn": "1.9.1"}` (from `_sklearn_version`)."""
    duration: float = 0.0
    """Seconds; left out of digests."""
