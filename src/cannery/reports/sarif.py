"""Audits as SARIF 2.1.0, the format in which code review shows what scanners find.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cannery.audits.findings import Finding
from cannery.audits.rules import OTHER, RULES
from cannery.blobs import hex_of
from cannery.sweeps import Audited

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LEVELS = {"review": "warning", "unsafe": "error", "unreadable": "error"}

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def sarif_log(audits: Sequence[Audited]) -> dict[str, Any]:
    """Return the log of one run; what the policy lifts is in it too, as suppressed."""
    found = [(audited, finding) for audited in audits for finding in audited.findings]
    rules = sorted({finding.rule for _, finding in found})
    driver = {
        "name": "Cannery",
        "version": version("cannery"),
        "rules": [_rule(rule) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True}],
        "artifacts": list({_place(audited): _artifact(audited) for audited in audits}.values()),
        "results": [_result(audited, finding, rules) for audited, finding in found],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: str) -> dict[str, Any]:
    family = RULES.get(rule, OTHER)
    return {
        "id": rule,
        "shortDescription": {"text": family.title},
        "fullDescription": {"text": family.why},
        "help": {"text": f"{family.why} {family.remedy}"},
    }


def _place(audited: Audited) -> str:
    return _uri(audited.model, audited.main)


def _artifact(audited: Audited) -> dict[str, Any]:
    artifact: dict[str, Any] = {"location": {"uri": _place(audited)}}
    if audited.digest:
        artifact |= {"length": audited.size, "hashes": {"sha-256": hex_of(audited.digest)}}
    return artifact


def _result(audited: Audited, finding: Finding, rules: list[str]) -> dict[str, Any]:
    remedy = f"\n{finding.remedy}" if finding.remedy else ""
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": LEVELS[finding.severity],
        "message": {"text": finding.message + remedy},
        "locations": [_location(audited, finding)],
        "partialFingerprints": {"cannery/v1": _fingerprint(finding)},
    }
    if finding not in audited.standing:
        result["suppressions"] = [{"kind": "external", "status": "accepted"}]
    return result


def _location(audited: Audited, finding: Finding) -> dict[str, Any]:
    """Return the file, the byte where that is one of the file, and the member within it."""
    file, inner = _parts(audited, finding.member)
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(audited.model, file)}}
    exact = file == audited.main and not inner and not audited.compressed
    if exact and finding.offset is not None:
        physical["region"] = {"byteOffset": finding.offset}
    location: dict[str, Any] = {"physicalLocation": physical}
    if not exact or finding.name:
        offset = "" if exact or finding.offset is None else f"+{finding.offset}"
        logical = {"fullyQualifiedName": f"{inner}{offset}"} if inner or offset else {}
        name = {"name": finding.name} if finding.name else {}
        if logical or name:
            location["logicalLocations"] = [{**logical, **name}]
    return location


def _parts(audited: Audited, member: str) -> tuple[str, str]:
    """Return the file below the model's folder ('' for the model itself), and what is inside it."""
    if not audited.main:
        return "", member
    if member == audited.main or member.startswith(f"{audited.main}/"):
        return audited.main, member[len(audited.main) + 1 :]
    return member, ""


def _uri(model: str, file: str) -> str:
    """Return the address of a file: as it is, relative to where the command ran, or as `file:`."""
    below = f"/{_quoted(file)}" if file else ""
    if _URI.match(model):
        return _quoted(model, safe="/:@%+") + below
    path = Path(model)
    return (path.as_uri() if path.is_absolute() else _quoted(path.as_posix())) + below


def _quoted(text: str, safe: str = "/") -> str:
    """Quote what need not be text at all: names of files are bytes."""
    return quote(text.encode("utf-8", "surrogatepass"), safe=safe)


def _fingerprint(finding: Finding) -> str:
    """Return what stays the same when the file is written anew: rule, member and name."""
    text = "\0".join((finding.rule, finding.member, finding.name or ""))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
