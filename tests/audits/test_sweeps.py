"""Sweeps: which files of a folder are audited, and what is left of them under a policy."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import pytest
import yaml
from hostile_files import headed, zipped

from cannery.audits.policy import Policy
from cannery.errors import SourceError
from cannery.sweeps import SUFFIXES, Audited, search, sweep

OWN = b"cacme.features\nRatio\n."
HOSTILE = b"cos\nsystem\n(S'true'\ntR."
NUMBERS = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n"
ROOT = Path(__file__).parents[2]


def _files(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _sweep(*words: str | Path, policy: Policy | None = None) -> dict[str, Audited]:
    found = search(str(word) for word in words)
    audits = sweep(found.models, policy or Policy(), lambda done, models: None)
    return {audited.model: audited for audited in audits}


def test_a_folder_is_walked_and_others_are_counted(tmp_path: Path) -> None:
    """Models are told by content, whatever their name; text is counted; Git's own folder is left out."""
    _files(tmp_path, a__deep_bin=OWN, b_txt=b"text", c_pkl=OWN, _git__x_pkl=OWN)
    found = search([str(tmp_path)])
    assert [Path(m).name for m in found.models] == ["deep.bin", "c.pkl"]
    assert found.others == 1


def test_a_name_that_promises_a_model_is_audited(tmp_path: Path) -> None:
    """Empty, cut and disguised files are unreadable, each on its own; the rest is still audited."""
    _files(tmp_path, a_pkl=b"", b_joblib=b"text", c_onnx=b"\0" * 9, d_pkl=HOSTILE)
    os.mkfifo(tmp_path / "e.pkl")
    (tmp_path / "f.pkl").symlink_to("nowhere")
    judged = {Path(m).name: a.judgement for m, a in _sweep(tmp_path).items()}
    assert judged.pop("d.pkl") == "unsafe"
    assert judged == dict.fromkeys(["a.pkl", "b.joblib", "c.onnx", "e.pkl", "f.pkl"], "unreadable")


def test_a_model_that_was_cut_short_is_not_passed_over(tmp_path: Path) -> None:
    """Half a download is told from files of other kinds, whatever it is called."""
    whole = pickle.dumps(list(range(1000)), 5)
    _files(
        tmp_path, a_bin=whole[:500], b_bin=zipped(("schema.json", b"{}"))[:60], c_bin=b"\x80\x81"
    )
    found = _sweep(tmp_path)
    assert {Path(m).name: a.judgement for m, a in found.items()} == {
        "a.bin": "unreadable",
        "b.bin": "unreadable",
    }
    assert all("cut short" in a.standing[0].message for a in found.values())


def test_archives_and_arrays_of_data_are_not_models(tmp_path: Path) -> None:
    """A package or a table of numbers is counted; one with a pickle in it is audited."""
    wheel = zipped(("acme/__init__.py", b"import os"), ("acme.txt", b"text"))
    files = {"a_whl": wheel, "b_zip": zipped(("m", HOSTILE)), "c_npy": headed(NUMBERS, bytes(16))}
    _files(tmp_path, **files, d_npy=headed(NUMBERS.replace("<f8", "|O"), HOSTILE))
    judged = {Path(m).name: a.judgement for m, a in _sweep(tmp_path).items()}
    assert judged == {"b.zip": "unsafe", "d.npy": "unsafe"}


def test_a_program_that_is_no_whole_pickle_is_not_passed_over(tmp_path: Path) -> None:
    """What would run a command before it breaks is no file to merely count."""
    _files(tmp_path, weights_bin=b"I1\n0" + HOSTILE + b"\n", words_csv=b"country\nGermany\n")
    found = search([str(tmp_path)])
    assert [Path(m).name for m in found.models] == ["weights.bin"]
    assert found.others == 1


def test_what_can_t_be_read_tells_no_path_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finding names the file as the user did."""
    monkeypatch.chdir(tmp_path)
    _files(tmp_path, a_pkl=b"")
    assert _sweep("a.pkl")["a.pkl"].findings[0].message == "'a.pkl' is empty"


def test_links_are_followed_to_files_and_not_to_folders(tmp_path: Path) -> None:
    """A circle of folders ends, and a linked file is audited under the link's name."""
    _files(tmp_path, store__blob=OWN)
    _files(tmp_path, tree__note_txt=b"text")
    (tmp_path / "tree" / "model").symlink_to(tmp_path / "store" / "blob")
    (tmp_path / "tree" / "again").symlink_to(tmp_path / "tree")
    found = search([str(tmp_path / "tree")])
    assert [Path(m).name for m in found.models] == ["model"]
    assert found.others == 2


def test_a_folder_of_mlflow_is_one_model(tmp_path: Path) -> None:
    """It is audited whole, its code too, wherever it lies; offsets name files within it."""
    document = b"flavors: {sklearn: {pickled_model: model.pkl}}\n"
    _files(tmp_path, runs__m__MLmodel=document, runs__m__model_pkl=pickle.dumps(1))
    _files(tmp_path, runs__m__code__x_py=b"1")
    (audited,) = _sweep(tmp_path).values()
    assert audited.main == "model.pkl"
    assert audited.judgement == "unsafe"
    assert "code" in {finding.rule for finding in audited.findings}


def test_a_broken_folder_of_mlflow_is_unreadable(tmp_path: Path) -> None:
    """An empty MLmodel does not hide what lies beside it."""
    _files(tmp_path, m__MLmodel=b"", m__model_pkl=HOSTILE)
    (audited,) = _sweep(tmp_path).values()
    assert audited.judgement == "unreadable"


def test_a_glob_finds_what_it_fits(tmp_path: Path) -> None:
    """Quoted globs work as in a shell, and one that fits nothing is an error."""
    _files(tmp_path, x__a_pkl=OWN, y__b_pkl=OWN, y__c_bin=OWN)
    assert {Path(m).name for m in _sweep(tmp_path / "**" / "*.pkl")} == {"a.pkl", "b.pkl"}
    with pytest.raises(SourceError, match="nothing fits"):
        search([str(tmp_path / "*.onnx")])


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A mistyped name must not pass as a file that was judged."""
    with pytest.raises(SourceError, match="there is no"):
        _sweep(tmp_path / "model.pkl")


def test_the_policy_lifts_reviews_alone(tmp_path: Path) -> None:
    """Facts stay what they are; the judgement is what remains."""
    _files(tmp_path, a_pkl=OWN, b_pkl=HOSTILE)
    policy = Policy(names={"acme.features.Ratio": "reviewed", "os.system": "reviewed"})
    a, b = _sweep(tmp_path, policy=policy).values()
    assert (a.verdict, a.judgement, a.standing) == ("review", "safe", ())
    assert (b.verdict, b.judgement) == ("unsafe", "unsafe")


def test_the_hook_takes_the_files_that_promise_a_model() -> None:
    """The pattern of the pre-commit hook and the suffixes of a sweep are one list."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert (hook["id"], hook["entry"]) == ("cannery-audit", "cannery audit")
    (inner,) = re.findall(r"\\\.\((.*)\)\$$", hook["files"])
    assert tuple(f".{suffix}" for suffix in inner.split("|")) == SUFFIXES
