"""The tree of errors: one class for each thing that a caller handles differently.

CanneryError
├── UsageError            an argument, option or setting that can't be meant
├── SourceError           a model that can't be found or read
│   ├── CutShortError     a model file of which the end is missing
│   └── UnreachableError  a tracking server, registry or mirror that does not answer
├── SchemaError           records, a sample or a signature that don't fit
│   └── MalformedError    a request that is not even JSON (or CSV)
├── CanError              a can that is damaged or not a can
├── IsolationError        the sandbox or the worker in it failed
├── ConversionError       a model that no runtime here can hold
├── ImageError            an image that can't be composed
├── RegistryError         an OCI registry refused
├── EngineError           Docker, Podman or a sandbox failed
├── OutputError           an output that exists or can't be written
└── RefusedError          the answer is "no", not "broken"
    ├── UnsafeError       the audit or the policy says no
    ├── ParityError       converted and original differ
    ├── ProofError        an image or a service is not healthy
    ├── BudgetError       an image is over one of its budgets
    └── SignatureError    a key does not vouch for a can or an image
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = re.compile(r"^\[Errno -?\d+\] ")


def harmless(text: str) -> str:
    """Return text with everything escaped that could steer a terminal; names in a model are anybody's."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def said(error: BaseException) -> str:
    """Return what an error says, without the number that the system gave it; its kind, if it says nothing."""
    return _NUMBER.sub("", str(error)) or type(error).__name__


class CanneryError(Exception):
    """Something the user should know: a lower-case message, and what to do about it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(CanneryError):
    """An argument, option or setting that can't be meant."""


class SourceError(CanneryError):
    """A model that can't be found or read."""


class CutShortError(SourceError):
    """A model file of which the end is missing."""


class UnreachableError(SourceError):
    """A tracking server, registry or mirror that does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One thing wrong in a document or a request."""

    path: str
    """Where: `[2].tenure`, or `layers[2].digest`."""
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, got {self.got}"


class SchemaError(CanneryError):
    """Records, a sample or a signature that don't fit; carries every issue found."""

    def __init__(
        self, message: str, *, issues: tuple[Issue, ...] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.issues = issues


class MalformedError(SchemaError):
    """A request that is not even JSON (or CSV)."""


class CanError(CanneryError):
    """A can that is damaged, or is not a can."""


class IsolationError(CanneryError):
    """The sandbox, or the worker in it, failed."""


class ConversionError(CanneryError):
    """A model that no runtime here can hold."""


class ImageError(CanneryError):
    """An image that can't be composed."""


class RegistryError(CanneryError):
    """An OCI registry refused."""


class EngineError(CanneryError):
    """Docker, Podman or a sandbox failed."""


class OutputError(CanneryError):
    """An output that exists already, or can't be written."""


class RefusedError(CanneryError):
    """The answer is "no": nothing is broken, but the thing asked for is not granted."""


class UnsafeError(RefusedError):
    """The audit or the policy says no."""


class ParityError(RefusedError):
    """Converted and original differ."""


class ProofError(RefusedError):
    """An image or a service is not healthy."""


class BudgetError(RefusedError):
    """An image is over one of its budgets."""


class SignatureError(RefusedError):
    """A key does not vouch for a can or an image."""
