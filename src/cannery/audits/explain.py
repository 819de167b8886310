"""What the tables say of one name, and why a rule matters."""

from __future__ import annotations

from cannery.audits.ledger import plain, remedy_for
from cannery.audits.listing import Entry, listing
from cannery.audits.rules import RULES

_MEANINGS = {
    "class": "a file may make an object of it without arguments and give it a state",
    "function": "a file may call it on opening, within the argument rules",
    "reference": "a file may hold it, so that it is called when the model scores",
}


def explain(name: str) -> str:
    """Say which table lists a dotted name and in which roles, or why none does; or what a rule is for."""
    if name in RULES:
        family = RULES[name]
        return f"'{name}' is a rule of the audit: {family.title}.\n{family.why}\n{family.remedy}"
    tables = listing()
    if not plain(name) or "." not in name:
        return f"'{name}' is no dotted name like 'sklearn.pipeline.Pipeline'; nothing lists it"
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module, qualname = ".".join(parts[:cut]), ".".join(parts[cut:])
        if entry := tables.find(module, qualname):
            return _listed(name, entry)
    module, qualname = ".".join(parts[:-1]), parts[-1]
    if tables.is_dangerous(module, qualname):
        return f"'{name}' is listed nowhere, and known from attacks: it can run commands or code"
    return (
        f"'{name}' is listed nowhere: a file that reaches it needs a review.\n"
        f"If you know what it does: {remedy_for(name)}"
    )


def _listed(name: str, entry: Entry) -> str:
    versions = ", ".join(listing().versions[entry.table])
    known = "" if entry.canonical == name else f" (today '{entry.canonical}')"
    lines = [f"'{name}'{known} is in the table of {entry.table}, made from version {versions}:"]
    lines += [f"  {role}: {_MEANINGS[role]}" for role in sorted(entry.roles)]
    if not entry.roles:
        lines.append("  some of its methods: a file may hold them, and nothing else of it")
    if listing().is_dangerous(*entry.canonical.rsplit(".", 1)):
        lines.append("  any other use of it is known from attacks")
    return "\n".join(lines)
