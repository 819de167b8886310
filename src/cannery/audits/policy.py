"""What this user trusts, and the one function that makes a `Cleared`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from cannery.audits.findings import Audit, Finding
from cannery.blobs import canonical_json, digest_bytes
from cannery.errors import UnsafeError
from cannery.sources.source import Source


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[trust]` table of `cannery.toml`: reviewed by a person, never part of a model."""

    names: dict[str, str] = {}
    """Exact dotted name → the reason given by the person who reviewed it."""
    pickle: Literal["refuse", "boundary"] = "refuse"
    digests: tuple[str, ...] = ()
    """Digests of pickles that may run as they are, when `pickle` is `boundary`."""

    @property
    def boundary(self) -> tuple[str, ...]:
        """The digests of pickles that may run as they are."""
        return self.digests if self.pickle == "boundary" else ()

    @property
    def digest(self) -> str:
        """SHA-256 of the policy in canonical JSON."""
        return digest_bytes(canonical_json(self))


_MINT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """A source, its audit, and the policy that let it pass; only `clear` makes one."""

    source: Source
    audit: Audit
    policy: Policy
    names: frozenset[str]
    """Every dotted name that may be resolved when the file is opened."""
    mint: object = field(repr=False)

    def __post_init__(self) -> None:
        if self.mint is not _MINT:
            raise TypeError("a Cleared comes from clear() alone")


def objections(audit: Audit, policy: Policy) -> tuple[Finding, ...]:
    """Return the findings that stand under `policy`: a trusted name lifts only reviews of that name."""
    return tuple(f for f in audit.findings if f.severity != "review" or f.name not in policy.names)


def _hint(given: str, standing: tuple[Finding, ...]) -> str | None:
    if any(finding.severity != "review" for finding in standing):
        return standing[0].remedy
    given = shlex.quote(given)
    return (
        f"read what they do (cannery audit {given}), and if you trust them all: "
        f"cannery trust --of {given} --reason TEXT"
    )


def clear(source: Source, audit: Audit, policy: Policy) -> Cleared:
    """Judge `audit` by `policy`; raises UnsafeError, naming every objection, when it does not pass."""
    if audit.digest != source.blob.digest:
        raise UnsafeError(f"'{source.main}' is not the file that was audited")
    standing = objections(audit, policy)
    if standing:
        first = standing[0]
        place = f" at offset {first.offset}" if first.offset is not None else ""
        more = f" (and {len(standing) - 1} more)" if len(standing) > 1 else ""
        raise UnsafeError(
            f"refused '{source.origin.given}': {first.message}{place}{more}",
            hint=first.remedy if len(standing) == 1 else _hint(source.origin.given, standing),
        )
    return Cleared(
        source=source,
        audit=audit,
        policy=policy,
        names=frozenset(reached.name for reached in audit.names),
        mint=_MINT,
    )
