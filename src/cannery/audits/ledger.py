"""Where an audit in progress writes what it found; every part of the audit writes into the same one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice, repeat
from operator import attrgetter, length_hint
from typing import TYPE_CHECKING, Any

from cannery.audits.findings import Finding, Reached, Role, Severity, Verdict
from cannery.audits.limits import Limits
from cannery.audits.listing import Entry, Listing
from cannery.audits.opcodes import BrokenProgramError
from cannery.audits.rules import OTHER, RULES
from cannery.audits.values import NAMING, Made, Name, Value, is_matrix_method
from cannery.bounds.problems import rule_for

if TYPE_CHECKING:
    from cannery.audits.repeats.rows import Row

_WORST: tuple[Severity, ...] = ("unsafe", "unreadable", "review")


_BY_VALUE = (
    "a function, lambda or class of a script or notebook was saved as code: take one that numpy or "
    "scikit-learn has, or define it in a module of its own, and save the model again"
)


def remedy_for(dotted: str) -> str:
    """Return what to do about a name: the line of cannery.toml that trusts it, where that can help."""
    if dotted.startswith("__main__."):
        return (
            "it was defined in a script or notebook, where nobody else finds it: "
            "define it in a module of its own, and save the model again"
        )
    if not plain(dotted) or "." not in dotted:
        return "no policy can name it: take the model without it"
    return f'review it, then add to cannery.toml: [trust] names."{dotted}" = "why you trust it"'


class Ledger:
    """Names reached and rules broken, of one audit."""

    def __init__(self, listing: Listing, limits: Limits) -> None:
        self.listing = listing
        self.limits = limits
        self.member = ""
        """Path of what is being read, inside the file or folder."""
        self.archives = 0
        """Archives that are open within each other."""
        self.unpacked = 0
        """Bytes that archives and compressed files became so far, those within each other too."""
        self.versions: dict[str, str] = {}
        self.steps: Iterator[Any] = repeat(None, limits.opcodes)
        """One for every opcode that may be followed, over all programs."""
        self.natives: dict[Made, tuple[int, str]] = {}
        """Objects whose numbers compiled code follows, with offset and member; judged at the end."""
        self.rows: list[Row] = []
        """Objects that are like each other, whose numbers are judged together."""
        self._findings: dict[tuple[str, ...], Finding] = {}
        self._worst: set[Severity] = set()
        self._reached: dict[tuple[str, str, Role], Reached] = {}
        self._seen: dict[tuple[str, str], Name] = {}
        self._uses: dict[tuple[Name, Role], bool] = {}

    @property
    def opcodes(self) -> int:
        """Return how many opcodes were followed so far."""
        return self.limits.opcodes - length_hint(self.steps)

    def spend(self, work: int) -> None:
        """Take as many opcodes as followed as one makes work, so that repeated work is bounded too."""
        deque(islice(self.steps, min(work, self.limits.opcodes)), maxlen=0)
        if not length_hint(self.steps):
            raise BrokenProgramError("too-long", f"more work than {self.limits.opcodes} opcodes")

    def unpack(self, size: int) -> None:
        """Count what something decompresses to; raises BrokenProgramError where that is too much in all."""
        self.unpacked += size
        if self.unpacked > self.limits.decompressed:
            message = f"it decompresses to more than {self.limits.decompressed} bytes"
            raise BrokenProgramError("bomb", message, unsafe=True)

    def find(
        self,
        rule: str,
        severity: Severity,
        message: str,
        *,
        offset: int | None = None,
        name: str | None = None,
        remedy: str | None = None,
    ) -> None:
        """Write down a broken rule; of the same rule on the same name only the first counts.

        Without a remedy of its own it has that of its rule.
        """
        self._worst.add(severity)
        key: tuple[str, ...] = (rule, self.member, name or message)
        if key in self._findings:
            return
        if len(self._findings) >= self.limits.findings:
            # What is no longer written down must not be lifted by a policy that trusts the rest.
            rule, severity = "too-many-findings", "unsafe"
            message = f"more than {self.limits.findings} findings; the rest is not listed"
            offset = name = remedy = None
            self._worst.add(severity)
            key = (rule,)
        self._findings[key] = Finding(
            rule=rule,
            severity=severity,
            message=message,
            offset=offset,
            member=self.member,
            name=name,
            remedy=remedy or RULES.get(rule, OTHER).remedy,
        )

    def reach(
        self,
        module: str,
        qualname: str,
        offset: int | None,
        entry: Entry | None,
        *,
        actual: tuple[str, str] | None = None,
    ) -> Name:
        """Write down that a name is imported, which runs its module; returns the name.

        `actual` is what a name of Python 2 is read as.
        """
        name = Name(module, qualname, -1 if offset is None else offset, entry)
        known = self._seen.setdefault((self.member, name.dotted), name)
        if known is not name and known.entry is entry:
            return known
        if len(self._seen) > self.limits.names:
            raise BrokenProgramError("too-long", f"more than {self.limits.names} names")
        if entry is None:
            self._unlisted(name, offset, actual or (module, qualname))
        return name

    def _unlisted(self, name: Name, offset: int | None, actual: tuple[str, str]) -> None:
        dotted = name.dotted
        listing = self.listing
        if (
            listing.is_dangerous(name.module, name.qualname)
            or listing.is_dangerous(*actual)
            or listing.is_dangerous(listing.canonical(actual[0]), actual[1])
        ):
            message = f"opening would import '{dotted}', which can run commands or code"
            remedy = _BY_VALUE if dotted.startswith("cloudpickle.") else None
            self.find(
                "dangerous-name", "unsafe", message, offset=offset, name=dotted, remedy=remedy
            )
        elif not plain(name.module) or not plain(name.qualname) or "." in name.qualname:
            message = f"opening would look up '{name.qualname[:80]}' inside '{name.module[:80]}'"
            self.find("dotted-name", "unsafe", message, offset=offset, name=dotted[:200])
        else:
            message = f"opening would import '{dotted}', which no table lists"
            self.find(
                "unknown-name",
                "review",
                message,
                offset=offset,
                name=dotted,
                remedy=remedy_for(dotted),
            )

    def use(self, name: Name, role: Role) -> bool:
        """Write down a use of a name; returns whether it is listed for that role."""
        seen = self._uses.get((name, role))
        if seen is not None:
            return seen
        dotted = name.dotted
        listed = name.entry is not None and role in name.entry.roles
        self._uses[name, role] = listed
        key = (self.member, dotted, role)
        if key not in self._reached:
            self._reached[key] = Reached(
                name=dotted,
                role=role,
                listed=listed,
                offset=name.offset if name.offset >= 0 else None,
                member=self.member,
            )
            if not listed and name.entry is not None:
                self._misused(name, name.entry, role)
        return listed

    def _misused(self, name: Name, entry: Entry, role: Role) -> None:
        dotted = name.dotted
        offset = name.offset if name.offset >= 0 else None
        known = ", ".join(sorted(entry.roles)) or "the home of a method"
        message = f"'{dotted}' is listed as {known}, and is used here as {role}"
        if self.listing.is_dangerous(*entry.canonical.rsplit(".", 1)):
            self.find("dangerous-name", "unsafe", message, offset=offset, name=dotted)
            return
        remedy = remedy_for(dotted)
        self.find("wrong-role", "review", message, offset=offset, name=dotted, remedy=remedy)

    def _unguarded(self, name: Name) -> None:
        dotted = name.dotted
        message = f"'{dotted}' is held by what may call it on something else than a sparse matrix"
        offset = name.offset if name.offset >= 0 else None
        remedy = remedy_for(dotted)
        self.find("wrong-role", "review", message, offset=offset, name=dotted, remedy=remedy)

    def made(self, made: Made, offset: int) -> None:
        """Remember an object that is to be judged once everything in it is known."""
        if made.listed and rule_for(made.canonical):
            self.natives.setdefault(made, (offset, self.member))

    def refer(self, value: Value) -> None:
        """Write down every global in `value` as a plain reference."""
        if type(value) in NAMING:
            for name in (value,) if type(value) is Name else value.names:
                if is_matrix_method(name):
                    self._unguarded(name)
                else:
                    self.use(name, "reference")

    def refer_all(self, values: Sequence[Value]) -> None:
        """Write down every global in `values` as a plain reference."""
        if not NAMING.isdisjoint(map(type, values)):
            for value in values:
                self.refer(value)

    @property
    def clean(self) -> bool:
        """Return whether nothing was found so far."""
        return not self._worst

    @property
    def reaches(self) -> bool:
        """Return whether anything is imported."""
        return bool(self._seen)

    def names(self) -> tuple[Reached, ...]:
        """Return every name reached, those that are imported and not used as references."""
        used = {(member, dotted) for member, dotted, _ in self._reached}
        idle = [
            Reached(
                name=name.dotted,
                role="reference",
                listed=name.entry is not None,
                offset=name.offset if name.offset >= 0 else None,
                member=member,
            )
            for (member, dotted), name in self._seen.items()
            if (member, dotted) not in used
        ]
        every = [*self._reached.values(), *idle]
        return tuple(sorted(every, key=attrgetter("member", "name", "role")))

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings, the worst first, then by place."""
        return tuple(
            sorted(
                self._findings.values(),
                key=lambda f: (_WORST.index(f.severity), f.member, f.offset or 0),
            )
        )

    def verdict(self) -> Verdict:
        """Return the worst severity found, `safe` when there is none."""
        for severity in _WORST:
            if severity in self._worst:
                return severity
        return "safe"


def plain(name: str) -> bool:
    """Return whether a (dotted) name consists of ASCII identifiers."""
    return name.isascii() and all(part.isidentifier() for part in name.split("."))
