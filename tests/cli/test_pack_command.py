"""`cannery pack`, as a user meets it: what it makes, and every way of getting it wrong."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cannery.cans.open import open_can
from cannery.processes import Finished, started

PACK = ("pack", "churn.pkl", "--sample", "sample.parquet", "-o", "churn.can")


def refused(done: Finished, status: int, *words: str) -> None:
    """Assert that a command ended with `status`, one clear error that has these words, and no traceback."""
    said = done.stderr.decode()
    assert done.status == status, said
    assert "Traceback" not in said
    assert "error:" in said
    for word in words:
        assert word in said, said


def left(folder: Path) -> set[str]:
    """Return the names in a folder, but for what the project started with."""
    return {p.name for p in folder.iterdir()} - {"churn.pkl", "sample.parquet", "cannery.toml"}


def test_a_pickle_becomes_a_can_that_answers_what_the_settings_name(can: Path) -> None:
    """The can opens, runs on ONNX, and answers the field that cannery.toml names."""
    opened = open_can(can)
    assert opened.manifest.runtime == "onnx"
    assert [o.name for o in opened.manifest.signature.outputs] == ["churn_probability"]
    assert opened.manifest.parity is not None
    assert opened.manifest.parity.flips == 0


def test_the_can_says_how_it_was_opened(can: Path) -> None:
    """The audit's verdict, the sandbox and what it stops are on record."""
    audit = open_can(can).manifest.audit
    assert audit.verdict == "safe"
    level, _, stops = audit.sandbox.partition(" ")
    assert level in {"bubblewrap", "landlock"}
    assert stops == "(stops exec, fork, network, read, write)"


def test_parity_was_tried_beside_thresholds(can: Path) -> None:
    """The certificate counts rows that hug split thresholds."""
    document = json.loads((can / "parity.json").read_text())
    rows = {d["kind"]: d["rows"] for d in document["differences"]}
    assert rows["threshold"] > 50


def test_json_is_the_only_thing_on_stdout(cannery, project) -> None:
    """With --json, stdout is one JSON document; all talk is on stderr."""
    done = cannery(*PACK, "--json")
    assert json.loads(done.stdout)["name"] == "churn"
    assert b"parity" in done.stderr


def test_an_existing_output_is_kept(cannery, project) -> None:
    """Without --force nothing that exists is replaced."""
    (project / "churn.can").mkdir()
    refused(cannery(*PACK), 2, "'churn.can' exists already", "--force")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("churn.pkl/x.can", "is not a folder"),
        (".", "is no name of an output"),
    ],
)
def test_an_output_that_can_not_be_is_refused_before_any_work(
    cannery, project, output, words
) -> None:
    """Where the can could not be written, nothing is fetched or opened first."""
    done = cannery("pack", "churn.pkl", "-o", output, "--force")
    refused(done, 2, words, "hint:")
    assert "fetch" not in done.stderr.decode()


def test_a_missing_model_is_named(cannery, project) -> None:
    """The path that is not there stands in the error."""
    refused(cannery("pack", "chrun.pkl", "-o", "x.can"), 2, "chrun.pkl")
    assert left(project) == set()


def test_no_model_at_all_is_explained(cannery, project) -> None:
    """Neither argument nor settings name a model."""
    refused(cannery("pack", "-o", "x.can"), 2, "no model given", "hint:")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"tenure,contract\n1,x\n" * 9, "hint:"),
        (pickle.dumps({"a": [1, 2]}), "dict"),
    ],
    ids=["empty", "text", "no model"],
)
def test_a_file_that_is_no_model_is_refused(cannery, project, content: bytes, words: str) -> None:
    """Empty files, text and pickles of something else end with 2 and leave nothing."""
    (project / "odd.pkl").write_bytes(content)
    refused(cannery("pack", "odd.pkl", "--sample", "sample.parquet", "-o", "x.can"), 2, words)
    assert left(project) == {"odd.pkl"}


def test_a_truncated_pickle_is_refused(cannery, project) -> None:
    """Half a model is unreadable, not opened."""
    half = (project / "churn.pkl").read_bytes()[:5000]
    (project / "half.pkl").write_bytes(half)
    done = cannery("pack", "half.pkl", "--sample", "sample.parquet", "-o", "x.can")
    assert done.status in (1, 2)
    refused(done, done.status, "half.pkl")
    assert left(project) == {"half.pkl"}


def test_a_hostile_pickle_is_refused_and_not_run(cannery, project) -> None:
    """A payload is named with its offset; the file that it would make is not there."""
    (project / "evil.pkl").write_bytes(b"cos\nsystem\n(S'touch stolen'\ntR.")
    refused(cannery("pack", "evil.pkl", "-o", "x.can"), 1, "os.system", "offset")
    assert left(project) == {"evil.pkl"}


def test_a_name_in_a_model_can_t_steer_the_terminal(cannery, project) -> None:
    """What a file names is shown escaped, also in an error."""
    (project / "evil.pkl").write_bytes(b"\x80\x02c\x1b]0;owned\x07\nrun\n.")
    done = cannery("pack", "evil.pkl", "-o", "x.can")
    assert done.status in (1, 2)
    assert b"\x1b]" not in done.stderr
    assert b"owned" in done.stderr


def test_a_sample_that_lacks_columns_is_explained(cannery, project) -> None:
    """Every missing column is named."""
    pd.DataFrame({"tenure": [1], "contract": ["One year"]}).to_csv(project / "few.csv", index=False)
    done = cannery("pack", "churn.pkl", "--sample", "few.csv", "-o", "x.can")
    refused(done, 2, "monthly_charges", "payment_method")
    assert left(project) == {"few.csv"}


def test_a_sample_that_is_missing_is_named(cannery, project) -> None:
    """The sample's path stands in the error."""
    refused(
        cannery("pack", "churn.pkl", "--sample", "nowhere.csv", "-o", "x.can"), 2, "nowhere.csv"
    )


def test_a_class_that_does_not_exist_is_explained(cannery, project) -> None:
    """An output for an unknown class lists the classes."""
    (project / "cannery.toml").write_text('[outputs]\nrisk = { class = "Perhaps" }\n')
    refused(cannery(*PACK), 2, "Perhaps", "No", "Yes")


def test_an_unknown_setting_is_named_with_its_place(cannery, project) -> None:
    """A misspelt key in cannery.toml is an error, not ignored."""
    (project / "cannery.toml").write_text("[trust]\nnmaes = 1\n")
    refused(cannery(*PACK), 2, "nmaes", "cannery.toml")


def test_a_wrong_flag_is_an_error_with_a_hint(cannery) -> None:
    """Usage errors end with 2 and point to the help."""
    refused(cannery("pack", "churn.pkl", "--ouput", "x.can"), 2, "--ouput", "--help")


def test_a_full_disk_leaves_nothing(project) -> None:
    """A can that does not fit is not half there."""
    script = (
        "mkdir small && mount -t tmpfs -o size=16k none small && "
        f"{sys.executable} -m cannery pack churn.pkl --sample sample.parquet -o small/churn.can; "
        "echo status $?; ls -A small"
    )
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(words, cwd=project, capture_output=True, timeout=240, check=False)
    assert "No space left" in done.stderr.decode()
    assert done.stdout.decode().split() == ["status", "2"]


@pytest.mark.parametrize("phase", ["start", "fetch", "audit"])
def test_an_interrupt_leaves_nothing(project: Path, phase: str) -> None:
    """Ctrl-C at the start, or in what follows a station: a clear word, status 2, nothing left."""
    words = [sys.executable, "-m", "cannery", *PACK]
    env = {**os.environ, "TMPDIR": str(project)}
    with started(words, cwd=project, env=env) as process:
        assert process.stderr is not None
        said = b""
        while phase != "start" and f"✓ {phase}".encode() not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        status = process.wait(20)
    assert status == 2 or (phase == "start" and status == -signal.SIGINT)
    if status == 2:
        assert b"interrupted" in said
        assert b"Traceback" not in said
    assert left(project) == set()
    marker = str(project).encode()
    running = [p for p in Path("/proc").glob("[0-9]*/cmdline") if marker in _read(p)]
    assert running == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_tolerance_of_the_settings_is_recorded(
    project: Path, cannery: Callable[..., Finished]
) -> None:
    """In the certificate and in can.json; the command line ranks higher."""
    settings = project / "cannery.toml"
    settings.write_text(settings.read_text() + "\n[parity]\ntolerance = 1e-4\n")
    for given, wanted in (((), 1e-4), (("--tolerance", "1e-9"), 1e-9)):
        done = cannery(*PACK, "--force", "--json", *given)
        assert done.ok, done.complaint
        assert json.loads(done.stdout)["parity"]["tolerance"] == wanted
        certificate = json.loads((project / "churn.can" / "parity.json").read_text())
        assert certificate["tolerance"] == wanted
