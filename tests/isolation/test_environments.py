"""The worker's environment: what it holds, and that it is made once."""

import os
import pickle
import socket
import zipfile
from pathlib import Path

import msgspec
import pytest
import xgboost
from originals import environment_of_tests

from cannery.audits.findings import Audit, Reached
from cannery.blobs import Blob
from cannery.errors import IsolationError, SourceError, UnreachableError
from cannery.isolation.environments import Environment, prepare
from cannery.isolation.pythons import NEWEST, OLDEST, own
from cannery.isolation.requirements import requirements_of
from cannery.sources.source import Format, Origin, Source


def source_with(
    *requirements: str, path: Path = Path(os.devnull), kind: Format = "pickle"
) -> Source:
    """Return a source beside which these requirements were recorded."""
    return Source(
        origin=Origin(given="", resolved=""),
        format=kind,
        main="model",
        files={"model": Blob(path=path, digest="", size=0)},
        requirements=requirements,
    )


def audit_with(names: tuple[str, ...] = (), **versions: str) -> Audit:
    """Return an audit that found these versions and names."""
    return Audit(
        format="pickle",
        digest="",
        size=0,
        verdict="safe",
        names=tuple(Reached(name=n, role="class", listed=True) for n in names),
        findings=(),
        versions={name.replace("_", "-"): version for name, version in versions.items()},
    )


def test_recorded_versions_are_kept_where_they_matter() -> None:
    """Libraries that open the model are pinned as recorded; what else was installed is left out."""
    source = source_with("scikit-learn==1.5.2", "numpy==1.26.4", "flask==3.0.0", "mlflow==3.1.0")
    wanted = requirements_of(source, audit_with())
    assert "scikit-learn==1.5.2" in wanted
    assert "numpy==1.26.4" in wanted
    assert not any(r.startswith(("flask", "mlflow")) for r in wanted)


def test_a_hostile_requirement_is_not_passed_on() -> None:
    """A version that is more than a version never reaches the installer."""
    wanted = requirements_of(source_with("numpy==1.0 @ https://evil.example/x.whl"), audit_with())
    assert "numpy" in wanted
    assert not any("evil" in r for r in wanted)


def test_names_of_numpy_2_ask_for_numpy_2() -> None:
    """A pickle that speaks of `numpy._core` can't be opened by numpy 1."""
    wanted = requirements_of(source_with(), audit_with(("numpy._core.multiarray._reconstruct",)))
    assert "numpy>=2" in wanted


def test_a_booster_asks_for_its_library(tmp_path: Path) -> None:
    """The version stands in a booster of XGBoost; LightGBM tells none, and the newest is taken."""
    path = tmp_path / "model"
    path.write_bytes(pickle.dumps(xgboost.train({}, xgboost.DMatrix([[1.0]], [1.0]), 1)))
    named = audit_with(("xgboost.sklearn.XGBRegressor", "lightgbm.sklearn.LGBMRegressor"))
    wanted = requirements_of(source_with(path=path), named)
    assert {f"xgboost-cpu=={xgboost.__version__}", "lightgbm"} <= set(wanted)
    ours = xgboost.__version__
    for package in ("xgboost-cpu", "xgboost"):
        source = source_with(f"{package}=={ours}", "lightgbm==4.5.0", path=path)
        wanted = requirements_of(source, named)
        assert {f"xgboost-cpu=={ours}", "lightgbm==4.5.0"} <= set(wanted)
        assert not any(r.startswith("xgboost=") for r in wanted)
    drifted = source_with("xgboost-cpu==2.1.0", path=path)
    with pytest.raises(SourceError, match=rf"xgboost {ours} wrote it, and 2\.1\.0"):
        requirements_of(drifted, named)
    assert "xgboost==2.1.0" in requirements_of(drifted, named, {"xgboost": "2.1.0"})


@pytest.mark.parametrize(
    ("kind", "content", "wanted"),
    [
        ("xgboost", b'{"learner":{},"version":[3,2,0]}', "xgboost-cpu==3.2.0"),
        ("xgboost", b'{"learner": {}, "version": [1, 7, 6]}', "xgboost==1.7.6"),
        ("catboost", b"CBM1 Git info:\n    Branch: tags/v1.2.10\n", "catboost==1.2.10"),
        ("lightgbm", b"tree\nversion=v4\n", "lightgbm"),
    ],
)
def test_a_booster_file_asks_for_the_version_that_wrote_it(
    tmp_path: Path, kind: Format, content: bytes, wanted: str
) -> None:
    """The libraries write their version into their files, but for LightGBM."""
    path = tmp_path / "model"
    path.write_bytes(content)
    audit = msgspec.structs.replace(audit_with(()), format=kind)
    assert wanted in requirements_of(source_with(path=path, kind=kind), audit)


def test_a_library_of_boosters_that_the_model_does_not_name_is_left_out() -> None:
    """It is recorded wherever it is installed, and weighs hundreds of megabytes."""
    source = source_with("catboost==1.2.10", "xgboost==3.0.2", "lightgbm==4.5.0")
    wanted = requirements_of(source, audit_with(("lightgbm.sklearn.LGBMRegressor",)))
    assert "lightgbm==4.5.0" in wanted
    assert not any(r.startswith(("catboost", "xgboost")) for r in wanted)


def test_a_package_that_the_model_names_is_installed_where_it_is_recorded() -> None:
    """The package of a trusted class comes along, at its recorded version; others stay out."""
    source = source_with("acme-features==1.2", "boto3==1.0")
    wanted = requirements_of(source, audit_with(("acme_features.ratios.Ratio",)))
    assert "acme-features==1.2" in wanted
    assert not any(r.startswith("boto3") for r in wanted)


def test_a_package_whose_modules_have_another_name_is_installed() -> None:
    """As recorded; else that of the time of the model's scikit-learn; and only where the model names it."""
    names = ("imblearn.pipeline.Pipeline", "sklearn.svm._classes.SVC")
    recorded = source_with("imbalanced-learn==0.12.4", "scikit-learn==1.4.2")
    assert "imbalanced-learn==0.12.4" in requirements_of(recorded, audit_with(names))
    alone = requirements_of(source_with(), audit_with(names, scikit_learn="1.5.2"))
    assert "imbalanced-learn<0.13" in alone
    others = requirements_of(recorded, audit_with(names[1:]))
    assert not any(r.startswith("imbalanced-learn") for r in others)


def test_an_lz4_file_asks_for_lz4(tmp_path: Path) -> None:
    """The one compressor of joblib that is not in the standard library is installed when needed."""
    path = tmp_path / "model"
    path.write_bytes(b"\x04\x22\x4d\x18rest")
    assert "lz4" in requirements_of(source_with(path=path, kind="joblib"), audit_with())


@pytest.mark.network
def test_the_second_time_no_program_is_started(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every index out of reach and no cache of uv's, the environment is still there at once."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "file:///nowhere")
    monkeypatch.setenv("UV_INDEX", "")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    assert environment_of_tests() == environment
    assert environment.packages["scikit-learn"]
    assert (environment.folder / "packages" / "sklearn").is_dir()


def test_versions_that_nobody_has_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which package and version could not be had, and what to do; nothing is left behind."""
    monkeypatch.setenv("CANNERY_CACHE", str(tmp_path))
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(IsolationError, match=r"scikit-learn==0\.0\.77") as caught:
        prepare(("scikit-learn==0.0.77",))
    assert caught.value.hint is not None
    assert {p.name for p in (tmp_path / "environments").iterdir()} == {"lock"}


def test_an_index_that_does_not_answer_is_said_to_be_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the index that is looked at then, not the versions, and no other Python is tried."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # and nobody listens there any more
    settings = {
        "CANNERY_CACHE": tmp_path,
        "UV_DEFAULT_INDEX": f"http://ann:pw@127.0.0.1:{port}/simple",
    }
    settings |= {"UV_INDEX": "", "UV_FIND_LINKS": "", "UV_HTTP_RETRIES": 0}
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(UnreachableError, match="package index does not answer") as caught:
        prepare(("scikit-learn==0.0.77",))
    assert "index-url" in str(caught.value.hint)
    assert "pw" not in caught.value.message


def test_a_cache_that_can_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint says how to name another one."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CANNERY_CACHE", str(tmp_path / "file"))
    with pytest.raises(IsolationError, match="can't keep environments") as caught:
        prepare(("scikit-learn==0.0.77",))
    assert "CANNERY_CACHE" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("scikit", "names", "bounds"),
    [
        ("1.2.2", (), {"numpy<1.25", "pandas<2.1", "scipy<1.11"}),
        ("1.4.0", (), {"numpy<2", "pandas<2.3", "scipy<1.14"}),
        ("1.6.1", ("numpy._core.multiarray.scalar",), {"numpy>=2,<2.3", "pandas<3"}),
        ("1.4.2", ("numpy._core.multiarray.scalar",), {"numpy>=2", "pandas<2.3"}),
        ("1.9.1", ("numpy.core.multiarray.scalar",), {"numpy<2", "pandas"}),
    ],
    ids=["1.2", "1.4", "1.6 by numpy 2", "1.4 by numpy 2", "1.9 by numpy 1"],
)
def test_an_old_scikit_learn_gets_the_libraries_of_its_time(
    scikit: str, names: tuple[str, ...], bounds: set[str]
) -> None:
    """It names no newest numpy itself, and fails with the one of today; what is recorded counts more."""
    audit = audit_with(names, scikit_learn=scikit)
    assert bounds <= set(requirements_of(source_with(), audit))
    assert "numpy==1.24.4" in requirements_of(source_with("numpy==1.24.4"), audit)


def test_a_drift_of_versions_is_an_error_with_its_remedy() -> None:
    """What the file says and what lies beside it can't both have trained the model."""
    source, audit = source_with("scikit-learn==1.5.2"), audit_with(scikit_learn="1.6.1")
    with pytest.raises(SourceError, match=r"scikit-learn 1\.6\.1 wrote it, and 1\.5\.2") as caught:
        requirements_of(source, audit)
    assert 'versions = { scikit-learn = "1.6.1" }' in str(caught.value.hint)
    for version in ("1.6.1", "1.5.2"):
        wanted = requirements_of(source, audit, {"Scikit_Learn": version})
        assert f"scikit-learn=={version}" in wanted


def test_another_packing_of_a_version_is_no_drift() -> None:
    """1.6 and 1.6.0 are one version, and so is 1.6.0 with a local mark."""
    for recorded in ("1.6", "1.6.0", "1.6.0+cpu"):
        wanted = requirements_of(
            source_with(f"scikit-learn=={recorded}"), audit_with(scikit_learn="1.6.0")
        )
        assert "scikit-learn==1.6.0" in wanted


def empty_wheel(folder: Path, name: str, tag: str) -> None:
    """Write a wheel of nothing for one Python."""
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_a_python_that_is_not_here_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages that only another Python can hold: the error says which, and how it is had."""
    other = NEWEST if own().minor != NEWEST else OLDEST
    empty_wheel(tmp_path, "thing", f"cp3{other}")
    settings = {"CANNERY_CACHE": tmp_path / "cache", "PATH": tmp_path, "PYENV_ROOT": tmp_path}
    settings |= {"UV_PYTHON_DOWNLOADS": "never", "UV_PYTHON_INSTALL_DIR": tmp_path / "none"}
    settings |= {"UV_NO_INDEX": 1, "UV_FIND_LINKS": tmp_path, "UV_OFFLINE": 1}
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(
        IsolationError, match=rf"thing==1\.0 would need Python 3\.{other}"
    ) as caught:
        prepare(("thing==1.0",))
    assert f"uv python install 3.{other}" in str(caught.value.hint)
    with pytest.raises(
        IsolationError, match=rf"no environment holds thing==1\.0 on Python 3\.{own().minor}:"
    ):
        prepare(("thing==1.0",), python=f"3.{own().minor}", only=True)
