"""SARIF: the log of findings that code review shows."""

from __future__ import annotations

import ast
import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

import pickles as p
import pytest

import cannery.audits
from cannery.audits.explain import explain
from cannery.audits.policy import Policy
from cannery.audits.rules import FAMILIES, RULES
from cannery.reports.audits import audit_text
from cannery.reports.sarif import sarif_log
from cannery.sweeps import search, sweep

HOSTILE = b"\x80\x02K\x010cos\nsystem\n(S'true'\ntR."
OWN = b"cacme.features\nRatio\n."
KEBAB = re.compile(r"[a-z]+(-[a-z]+)*").fullmatch
FINDERS = {"find", "refuse", "_refuse", "review", "BrokenProgramError"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the one run of a log on files of every kind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.pkl").write_bytes(OWN)
    (tmp_path / "a b.pkl").write_bytes(HOSTILE)
    (tmp_path / "packed.joblib").write_bytes(zlib.compress(HOSTILE))
    (tmp_path / "empty.skops").write_bytes(b"")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {sklearn: {pickled_model: m.pkl}}\n")
    (folder / "m.pkl").write_bytes(HOSTILE)
    (folder / "x.py").write_text("1")
    policy = Policy(names={"acme.features.Ratio": "reviewed"})
    audits = sweep(search(["."]).models, policy, lambda done, models: None)
    log = json.loads(json.dumps(sarif_log(audits)))
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    found: dict[str, Any] = log["runs"][0]
    return found


def _at(run: dict[str, Any], uri: str) -> list[dict[str, Any]]:
    return [
        result
        for result in run["results"]
        if result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri
    ]


def test_every_result_has_what_the_format_requires(run: dict[str, Any]) -> None:
    """Message, level, location and a rule with help, found under its index; every id once."""
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert all(rule["help"]["text"] and rule["shortDescription"]["text"] for rule in rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning"}
        assert result["message"]["text"]
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert uri.isascii()
        assert " " not in uri


def test_a_finding_names_its_byte(run: dict[str, Any]) -> None:
    """The offset of a plain file is a region of it."""
    dangerous = next(r for r in _at(run, "a%20b.pkl") if r["ruleId"] == "dangerous-name")
    (location,) = dangerous["locations"]
    assert location["physicalLocation"]["region"] == {"byteOffset": HOSTILE.index(b"cos")}
    assert location["logicalLocations"] == [{"name": "os.system"}]


def test_an_offset_behind_a_compressor_is_no_byte_of_the_file(run: dict[str, Any]) -> None:
    """It is told, and not as a region."""
    dangerous = next(r for r in _at(run, "packed.joblib") if r["ruleId"] == "dangerous-name")
    (location,) = dangerous["locations"]
    assert "region" not in location["physicalLocation"]
    assert location["logicalLocations"][0]["fullyQualifiedName"] == f"+{HOSTILE.index(b'cos')}"


def test_a_folder_s_findings_name_the_file_in_it(run: dict[str, Any]) -> None:
    """The model file with its byte, and other members by their path."""
    assert "region" in _at(run, "folder/m.pkl")[0]["locations"][0]["physicalLocation"]
    assert [result["ruleId"] for result in _at(run, "folder/x.py")] == ["code"]


def test_what_the_policy_lifts_is_suppressed(run: dict[str, Any]) -> None:
    """A reviewer sees it, and code scanning does not raise it."""
    (lifted,) = _at(run, "own.pkl")
    assert lifted["suppressions"][0]["kind"] == "external"
    assert all("suppressions" not in r for r in run["results"] if r is not lifted)


def test_an_unreadable_file_is_an_error(run: dict[str, Any]) -> None:
    """It has no digest, and a result all the same."""
    (result,) = _at(run, "empty.skops")
    assert (result["ruleId"], result["level"]) == ("unreadable", "error")


def test_hostile_names_neither_break_nor_steer_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are no text, half a surrogate and a terminal's escapes are told as escapes."""
    monkeypatch.chdir(tmp_path)
    name = p.stack_name(p.text("a\ud800"), p.text("\x1b[2J\nmodel.pkl  safe"))
    path = os.fsdecode(b"\xff\x1b[1m.pkl")
    Path(path).write_bytes(p.make_pickle(name))
    (audited,) = sweep(search(["."]).models, Policy(), lambda done, models: None)
    text = audit_text(audited, names=True, brief=False)
    assert "\x1b" not in text
    assert "\nmodel.pkl" not in text
    assert "\\ud800" in text
    assert text.encode()
    (result,) = sarif_log([audited])["runs"][0]["results"]
    location = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location["uri"].endswith("%1B%5B1m.pkl")


def test_a_file_that_is_named_twice_is_one_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The format wants each artifact once."""
    monkeypatch.chdir(tmp_path)
    Path("own.pkl").write_bytes(OWN)
    audits = sweep(("own.pkl", "./own.pkl"), Policy(), lambda done, models: None)
    assert [a["location"]["uri"] for a in sarif_log(audits)["runs"][0]["artifacts"]] == ["own.pkl"]


def _rules() -> set[str]:
    found = set()
    for path in Path(cannery.audits.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                whose, _, called = ast.unparse(node.func).rpartition(".")
                rule = node.args[0]
                if whose.endswith("listing"):
                    continue  # a look-up of a name
                if called in FINDERS and isinstance(rule, ast.Constant) and KEBAB(str(rule.value)):
                    found.add(str(rule.value))
    return found


def test_every_rule_is_explained() -> None:
    """Whatever the audit can find has a reason and a remedy, in one family alone."""
    assert _rules() - set(RULES) == set()
    assert sum(len(family.rules) for family in FAMILIES) == len(RULES)
    assert "reads other files" in explain("external-data")
