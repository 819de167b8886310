"""`cannery audit` and `cannery trust`, as a user and a continuous build meet them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from make_schemas import SCHEMAS, audit_schema
from rich.console import Console
from rich.markup import escape

from cannery.reports.text import print_lines
from cannery.sweeps import Audited

OWN = b"cacme.features\nRatio\n."
HOSTILE = b"cos\nsystem\n(S'touch owned'\ntR."


@pytest.fixture
def models(project: Path) -> Path:
    """Return the project with a model of its own class, a hostile one, a broken one and a text."""
    (project / "models").mkdir()
    (project / "churn.pkl").rename(project / "models" / "churn.pkl")
    (project / "models" / "own.pkl").write_bytes(OWN)
    (project / "models" / "hostile.bin").write_bytes(HOSTILE)
    (project / "models" / "empty.joblib").write_bytes(b"")
    (project / "models" / "README.md").write_text("Models.")
    return project


def test_a_folder_is_told_with_one_line_of_summary(cannery: Any, models: Path) -> None:
    """The worst file makes the exit code; what is safe takes one line; nothing was run."""
    done = cannery("audit", "models")
    assert done.status == 2
    lines = done.stdout.decode().splitlines()
    assert "models/churn.pkl  safe" in lines
    assert lines[-1] == (
        "4 models: 1 safe, 1 review, 1 unsafe, 1 unreadable; 1 other file not looked at"
    )
    assert not (models / "owned").exists()
    assert not done.stderr


def test_what_is_not_there_is_told_before_anything_is_audited(cannery: Any, models: Path) -> None:
    """One name that was mistyped is said at once and alone, with what it may have been."""
    done = cannery("audit", "models", "models/hostile.bim")
    assert done.status == 2
    assert done.complaint.startswith("error: there is no 'models/hostile.bim'\n")
    assert "did you mean 'models/hostile.bin'?" in done.complaint
    assert not done.stdout


def test_long_lines_are_broken_between_words_on_a_terminal() -> None:
    """What goes on stands under its own text; in a file or a pipe a finding stays one line."""
    words = escape('review it, then add to cannery.toml: [trust] names."a.b" = "why"')
    text = f"[bold]m.pkl[/]  review\n  review unknown-name: {words}\n    remedy: {words}"
    shown = {}
    for terminal in (True, False):
        written = io.StringIO()
        screen = Console(
            file=written, width=48, force_terminal=terminal, color_system=None, soft_wrap=True
        )
        print_lines(screen, text)
        shown[terminal] = written.getvalue()
    assert shown[True].splitlines() == [
        "m.pkl  review",
        "  review unknown-name: review it, then add to",
        '    cannery.toml: [trust] names."a.b" = "why"',
        "    remedy: review it, then add to cannery.toml:",
        '            [trust] names."a.b" = "why"',
    ]
    assert [len(line) for line in shown[False].splitlines()] == [13, 87, 76]


def test_trust_lifts_a_review(cannery: Any, models: Path) -> None:
    """What `trust` writes makes the audit of the file pass, and names the reason for the reader."""
    assert cannery("audit", "models/own.pkl").status == 1
    done = cannery("trust", "acme.features.Ratio", "--reason", "pure numpy")
    assert done.ok, done.complaint
    done = cannery("audit", "models/own.pkl", "models/churn.pkl")
    assert done.status == 0
    told = b"models/own.pkl  review, passes: 1 finding lifted by the policy\n"
    assert done.stdout.startswith(told)
    settings = (models / "cannery.toml").read_text()
    assert settings.startswith('[outputs]\nchurn_probability = { class = "Yes" }\n')
    assert 'names."acme.features.Ratio" = "pure numpy"' in settings


def test_all_names_of_a_model_are_trusted_at_once(cannery: Any, models: Path) -> None:
    """The report and the refusal to pack say how; the reasons stand in the settings, one line a name."""
    parts = b"".join(b"cacme.features\nPart%d\n" % n for n in range(30))
    (models / "models" / "many.pkl").write_bytes(b"(" + parts + b"l.")
    command = "cannery trust --of models/many.pkl --reason TEXT"
    assert command in cannery("audit", "models/many.pkl").stdout.decode()
    assert command in cannery("pack", "models/many.pkl", "-o", "many.can").complaint
    done = cannery("trust", "--of", "models/many.pkl", "--reason", "read by me", "--json")
    assert len(json.loads(done.stdout)["names"]) == 30
    assert cannery("audit", "models/many.pkl").status == 0
    assert (models / "cannery.toml").read_text().count('"read by me"') == 30
    again = cannery("trust", "--of", "models/many.pkl", "--reason", "read by me")
    assert (again.status, again.stdout) == (0, b"")


@pytest.mark.parametrize(
    "words",
    [
        ("--of", "models/hostile.bin"),
        ("acme.features.Ratio", "os.system"),
        ("acme.features.Ratio", "__main__.Ratio"),
        (),
    ],
)
def test_nothing_is_trusted_unless_all_can_be(
    words: tuple[str, ...], cannery: Any, models: Path
) -> None:
    """One name too many, and the settings stay as they are."""
    before = (models / "cannery.toml").read_text()
    assert cannery("trust", *words, "--reason", "read by me").status != 0
    assert (models / "cannery.toml").read_text() == before


def test_json_keeps_to_the_published_schema(cannery: Any, models: Path) -> None:
    """The schema is that of the types today, takes what is printed, and refuses less than that."""
    published = json.loads(SCHEMAS.joinpath("audit.schema.json").read_text())
    assert published == audit_schema(), "run python tools/make_schemas.py"
    check = jsonschema.Draft202012Validator(published)
    printed = json.loads(cannery("audit", "models", "--json").stdout)
    check.validate(printed)
    assert len(msgspec.convert(printed, tuple[Audited, ...])) == 4
    del printed[0]["judgement"]
    assert not check.is_valid(printed)


def test_sarif_is_written_whole_and_never_over_a_file(cannery: Any, models: Path) -> None:
    """The report stays on stdout; a file that exists is kept without --force."""
    done = cannery("audit", "models/hostile.bin", "--sarif", "audit.sarif")
    assert done.status == 1
    assert b"dangerous-name" in done.stdout
    (run,) = json.loads((models / "audit.sarif").read_bytes())["runs"]
    assert [result["ruleId"] for result in run["results"]] == ["dangerous-name"]
    again = cannery("audit", "models/churn.pkl", "--sarif", "audit.sarif")
    assert again.status == 2
    assert "exists already" in again.complaint
    done = cannery("audit", "models/churn.pkl", "--sarif", "-")
    assert json.loads(done.stdout)["runs"][0]["results"] == []


def test_a_can_is_audited_by_what_is_in_it(cannery: Any, can: Path) -> None:
    """A sealed model is safe, and one changed byte makes the can unreadable."""
    assert cannery("audit", can).status == 0


def test_explain_says_what_is_known(cannery: Any) -> None:
    """Of a name, and of a rule; no model is needed."""
    done = cannery("audit", "--explain", "sklearn.pipeline.Pipeline")
    assert done.ok, done.complaint
    assert "table of scikit-learn" in done.stdout.decode()
    assert "rule of the audit" in cannery("audit", "--explain", "bomb").stdout.decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no model given"),
        (("nothing.pkl",), "there is no"),
        (("no/*.pkl",), "nothing fits"),
        (("churn.pkl", "--json", "--sarif", "-"), "both write to stdout"),
    ],
)
def test_what_audit_can_t_mean_is_said(cannery: Any, words: tuple[str, ...], said: str) -> None:
    """One clear line, a hint, and exit code 2."""
    done = cannery("audit", *words)
    assert done.status == 2
    assert said in done.complaint
    assert "Traceback" not in done.complaint
