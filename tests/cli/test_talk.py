"""What the commands say, and where: help, silence, and one line for each thing wrong."""

from __future__ import annotations

import importlib
import json

import pandas as pd
import pytest

from cannery.cli.main import COMMANDS


def test_without_a_command_the_help_is_shown(cannery) -> None:
    """The bare command lists the others; it is no error message, and no success."""
    done = cannery()
    assert done.status == 2
    assert done.stderr.startswith(b"Usage: cannery")
    assert b"error:" not in done.stderr


@pytest.mark.parametrize("words", [("-q", "smoke"), ("smoke", "-q")], ids=["before", "after"])
def test_silence_is_asked_for_before_the_command_or_after(cannery, can, words) -> None:
    """`-q` stands where the user writes it; results are still printed."""
    done = cannery(*words, can)
    assert done.ok, done.complaint
    assert json.loads(done.stdout)
    assert done.stderr == b""


def test_quiet_packing_says_nothing_of_its_stations(cannery, project) -> None:
    """After the command too, `--quiet` leaves stderr empty."""
    done = cannery("pack", "churn.pkl", "--sample", "sample.parquet", "-o", "a.can", "--quiet")
    assert done.ok, done.complaint
    assert done.stderr == b""
    assert done.stdout.startswith(b"can ")


def test_every_column_that_is_missing_is_named_once(cannery, can, tmp_path) -> None:
    """A table without the model's columns is one error, with one line for each column."""
    pd.DataFrame({"other": [1]}).to_csv(tmp_path / "other.csv", index=False)
    done = cannery("score", can, tmp_path / "other.csv", "-o", tmp_path / "answers.csv")
    said = done.stderr.decode()
    assert done.status == 2
    assert [said.count(f"'{name}'") for name in ("tenure", "contract")] == [1, 1]


def test_a_sample_without_rows_is_refused(cannery, project) -> None:
    """A header alone is no sample: the model is not packed as if none had been given."""
    (project / "none.csv").write_text("tenure,monthly_charges\n")
    done = cannery("pack", "churn.pkl", "--sample", "none.csv", "-o", "a.can")
    assert done.status == 2
    assert "'none.csv' has no rows" in done.complaint


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (b"c__main__\nRatio\n.", "define it in a module of its own"),
        (b"ccloudpickle.cloudpickle\n_make_function\n.", "was saved as code"),
    ],
    ids=["by name", "by value"],
)
def test_what_was_defined_in_a_notebook_is_explained(cannery, project, program, words) -> None:
    """A class or function of nobody's module can't be trusted into being; the hint says what to do."""
    (project / "own.pkl").write_bytes(program)
    done = cannery("pack", "own.pkl", "-o", "a.can")
    assert done.status == 1
    assert words in done.stderr.decode()
    assert "cannery.toml" not in done.stderr.decode()


def test_a_shell_completes_commands_and_files(cannery) -> None:
    """Names of commands, of options and their values; and files where a model may stand."""

    def completed(words: str, place: int) -> list[str]:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(place)}
        done = cannery(**asked, _CANNERY_COMPLETE="bash_complete")
        return done.stdout.decode().split()

    assert completed("cannery pu", 1) == ["plain,push", "plain,pull", "plain,publish"]
    assert completed("cannery build --runt", 2) == ["plain,--runtime"]
    assert "plain,skops" in completed("cannery build --runtime ", 3)
    assert completed("cannery audit mod", 2) == ["file,mod"]


def test_a_packed_model_is_followed_by_what_can_be_done_with_it(cannery, project) -> None:
    """The command that is offered has the can and a name that an image can have; it is talk, not data."""
    words = (
        "--sample",
        "sample.parquet",
        "-o",
        "my a.can",
        "--name",
        "Churn Model",
        "--version",
        "2",
    )
    done = cannery("pack", "churn.pkl", *words)
    assert done.ok, done.complaint
    assert done.complaint.endswith("next: cannery build 'my a.can' -t churn-model:2")
    assert b"next" not in done.stdout


def test_a_missing_option_is_said_with_what_it_is_for(cannery, project) -> None:
    """Whoever leaves out `-o` is told what stands there, not where to read it."""
    done = cannery("pack", "churn.pkl")
    assert done.status == 2
    assert done.complaint == "error: missing option '-o' / '--output'\nhint: Folder of the can."


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_file_is_not_looked_for_among_images(cannery, project, command) -> None:
    """A model where an image belongs is said to be none, with what can be asked of it."""
    done = cannery(command, "churn.pkl")
    assert done.status == 2
    assert "'churn.pkl' is neither a can nor an image" in done.complaint
    assert "cannery audit churn.pkl" in done.complaint


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"demo", "serve"}))
def test_every_command_that_answers_takes_json(name) -> None:
    """A program asks each command in the same way; a tour and a service are no answers."""
    command = importlib.import_module(f"cannery.cli.{name}").command
    assert "--json" in [flag for each in command.params for flag in each.opts]


def test_scored_and_ejected_are_told_as_json(cannery, can, churn, tmp_path) -> None:
    """How many rows, and which files: on stdout, unless the answers go there themselves."""
    churn.head(3).to_csv(tmp_path / "in.csv", index=False)
    done = cannery("score", can, tmp_path / "in.csv", "-o", tmp_path / "out.csv", "--json")
    assert json.loads(done.stdout)["rows"] == 3
    done = cannery("score", can, tmp_path / "in.csv", "-o", "-", "--json")
    assert done.status == 2
    assert "both go to stdout" in done.complaint
    done = cannery("eject", can, "-o", tmp_path / "files", "--json")
    files = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert sorted(json.loads(done.stdout)["files"]) == sorted(map(str, files))
