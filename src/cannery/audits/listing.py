"""The allow-list: which exact names a model file may reach, and in which role."""

from __future__ import annotations

import functools

# A table of names and no code: how Python 3 reads the names of Python 2.
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import msgspec

from cannery.audits.findings import Role


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One library's names, as in `names/<library>.json`: role → module → qualified names."""

    name: str = msgspec.field(name="library")
    versions: tuple[str, ...]
    """Versions of the library from which the table was made."""
    aliases: dict[str, str] = {}
    """Module prefix of another generation → the prefix under which it is listed here."""
    classes: dict[str, tuple[str, ...]] = {}
    """May be made without arguments (`NEWOBJ`) and given a state."""
    functions: dict[str, tuple[str, ...]] = {}
    """May be called on opening (`REDUCE`), within the argument rules."""
    references: dict[str, tuple[str, ...]] = {}
    """May be put into a state, and so be called when the model scores."""
    methods: tuple[str, ...] = ()
    """Methods of its classes."""


class Dangerous(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names known to be used in attacks; they only choose the severity of what is unlisted anyway."""

    modules: frozenset[str]
    names: frozenset[str]
    attributes: frozenset[str]
    """Modules that other modules import, and so hand on under these names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A listed name."""

    canonical: str
    roles: frozenset[Role]
    """None where only its methods are listed."""
    table: str
    """Library in whose table it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All tables, ready for look-up by module and qualified name."""

    entries: Mapping[tuple[str, str], Entry]
    aliases: Mapping[str, str]
    dangerous: Dangerous
    versions: Mapping[str, tuple[str, ...]]
    """Library → versions its table was made from."""
    methods: frozenset[str]
    """Methods of estimators: an attribute of that name would stand in front of one."""

    def find(self, module: str, qualname: str) -> Entry | None:
        """Return the row of exactly this name; no re-export and no attribute of a listed name counts."""
        return self.entries.get((module, qualname)) or self.entries.get(
            (self.canonical(module), qualname)
        )

    def canonical(self, module: str) -> str:
        """Return `module` with the prefix of another generation replaced."""
        prefix = module
        while prefix:
            if prefix in self.aliases:
                return self.aliases[prefix] + module[len(prefix) :]
            prefix = prefix.rpartition(".")[0]
        return module

    def is_dangerous(self, module: str, qualname: str) -> bool:
        """Return whether the name is known from attacks."""
        if qualname in self.dangerous.attributes:
            return True
        return _within(module, self.dangerous.modules) or _within(
            f"{module}.{qualname}", self.dangerous.names
        )


def _within(dotted: str, known: frozenset[str]) -> bool:
    """Return whether a name, or what it lies in, is known."""
    while dotted:
        if dotted in known:
            return True
        dotted = dotted.rpartition(".")[0]
    return False


@functools.cache
def listing() -> Listing:
    """Read every table under `names/` (once)."""
    entries: dict[tuple[str, str], Entry] = {}
    aliases: dict[str, str] = {}
    versions: dict[str, tuple[str, ...]] = {}
    methods: set[str] = set()
    folder = resources.files("cannery.audits.names")
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".json") or file.name == "dangerous.json":
            continue
        table = msgspec.json.decode(file.read_bytes(), type=Table)
        aliases.update(table.aliases)
        versions[table.name] = table.versions
        methods.update(table.methods)
        for role, modules in _roles(table):
            for module, names in modules.items():
                for name in names:
                    old = entries.get((module, name))
                    roles = frozenset({role}) | (old.roles if old else frozenset())
                    entries[module, name] = Entry(f"{module}.{name}", roles, table.name)
                    if "." in name:  # whose class older protocols look it up in
                        home = name.rpartition(".")[0]
                        holder = Entry(f"{module}.{home}", frozenset(), table.name)
                        entries.setdefault((module, home), holder)
    dangerous = msgspec.json.decode(folder.joinpath("dangerous.json").read_bytes(), type=Dangerous)
    return Listing(
        entries=entries,
        aliases=aliases,
        dangerous=dangerous,
        versions=versions,
        methods=frozenset(methods),
    )


def _roles(table: Table) -> tuple[tuple[Role, dict[str, tuple[str, ...]]], ...]:
    return (
        ("class", table.classes),
        ("function", table.functions),
        ("reference", table.references),
    )


def modern(module: str, qualname: str) -> tuple[str, str]:
    """Return what an unpickler reads instead of a name of Python 2, in protocols 0 to 2."""
    old = (module, qualname)
    return NAME_MAPPING.get(old) or (IMPORT_MAPPING.get(module, module), qualname)
