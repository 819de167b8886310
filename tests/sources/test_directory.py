"""Folders and paths as sources, without MLflow."""

import json
import os
import pickle
from pathlib import Path

import pytest
from sklearn.dummy import DummyClassifier

from cannery.errors import SourceError
from cannery.signatures import Feature
from cannery.sources.fetch import fetch
from cannery.sources.memory import of_object
from cannery.sources.mlmodel import recorded_example

MLMODEL = """\
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl, python_version: 3.11.7}
  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle}
run_id: 0a1b
model_id: m-00
saved_input_example_info: {artifact_path: input_example.json, type: dataframe, pandas_orient: split}
signature:
  inputs: '[{"type": "long", "name": "tenure", "required": true},
    {"type": "float", "name": "charges", "required": false},
    {"type": "string", "name": "plan", "optional": true}]'
"""


def _folder(folder: Path, mlmodel: str = MLMODEL) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_text(mlmodel)
    (folder / "model.pkl").write_bytes(pickle.dumps(DummyClassifier()))
    (folder / "requirements.txt").write_text(
        "mlflow==3.17.2\nscikit-learn==1.9.1\nnumpy>=2\npandas[parquet]==3.1.1 ; python_version>'3'\n"
    )
    (folder / "python_env.yaml").write_text("python: 3.12.1\n")
    (folder / "input_example.json").write_text(
        '{"columns": ["tenure", "charges"], "data": [[1, NaN], [2, 3.5]]}'
    )
    (folder / "registered_model_meta").write_text("model_name: x\n")
    return folder


def _refused(uri: str | Path, staging: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(str(uri), staging=staging)
    return caught.value


def test_an_mlflow_folder_is_read_without_mlflow(tmp_path: Path) -> None:
    """Model file, signature, example, requirements, Python and lineage all come from its documents."""
    source = fetch(str(_folder(tmp_path / "model")), staging=tmp_path)
    assert (source.format, source.main, source.python) == ("pickle", "model.pkl", "3.12.1")
    assert source.features == (
        Feature(name="tenure", type="long"),
        Feature(name="charges", type="double", nullable=True),
        Feature(name="plan", type="string", nullable=True),
    )
    assert source.example == ({"tenure": 1, "charges": None}, {"tenure": 2, "charges": 3.5})
    assert source.requirements == ("scikit-learn==1.9.1", "pandas==3.1.1")
    assert (source.origin.run_id, source.origin.model_id) == ("0a1b", "m-00")


def test_every_file_is_hashed_but_what_mlflow_leaves_behind(tmp_path: Path) -> None:
    """A file that MLflow writes on download would change the digest of the same model."""
    source = fetch(str(_folder(tmp_path / "model")), staging=tmp_path)
    assert "registered_model_meta" not in source.files
    assert set(source.files) == {
        "MLmodel",
        "input_example.json",
        "model.pkl",
        "python_env.yaml",
        "requirements.txt",
    }
    assert source.blob.digest.startswith("sha256:")


@pytest.mark.parametrize("name", ["../model.pkl", "/etc/passwd", "a/../../b", "..\\\\x"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """The document says which file to read: it may only name one of its own."""
    folder = _folder(
        tmp_path / "model", MLMODEL.replace("pickled_model: model.pkl", f'pickled_model: "{name}"')
    )
    assert "leaves the model's folder" in _refused(folder, tmp_path).message


def test_links_are_refused(tmp_path: Path) -> None:
    """A link in a model folder could bring any file of this machine along."""
    folder = _folder(tmp_path / "model")
    (folder / "extra").symlink_to("/etc/passwd")
    assert "'extra'" in _refused(folder, tmp_path).message


@pytest.mark.parametrize(
    ("mlmodel", "part"),
    [
        ("[1, 2]\n", "not a mapping"),
        ("a: [\n", "can't be read as YAML"),
        ("!!python/object/apply:os.system ['true']\n", "can't be read as YAML"),
        (
            "flavors: {xgboost: {data: model.xgb}, python_function: {data: model.xgb}}\n",
            "'model.xgb'",
        ),
        ("run_id: x\n", "names no flavors"),
        (MLMODEL.replace("model.pkl", "gone.pkl"), "'gone.pkl', which is not in"),
        (MLMODEL.replace('[{"type": "long"', '[{"kind": "long"'), "signature"),
    ],
)
def test_a_broken_mlmodel_is_a_clear_error(tmp_path: Path, mlmodel: str, part: str) -> None:
    """Nothing in the document is executed, and each fault is named."""
    assert part in _refused(_folder(tmp_path / "model", mlmodel), tmp_path).message


def test_a_yaml_bomb_is_refused_at_once(tmp_path: Path) -> None:
    """Aliases of aliases name more values than a machine has memory for."""
    lines = ["a0: &a0 [x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
    ]
    assert "too large" in _refused(_folder(tmp_path / "m", "\n".join(lines)), tmp_path).message


def test_a_signature_of_tensors_is_no_signature(tmp_path: Path) -> None:
    """Types that no feature can hold leave the features to be found elsewhere."""
    tensor = '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 4]}}]'
    text = MLMODEL.partition("signature:")[0] + f"signature:\n  inputs: '{tensor}'\n"
    assert fetch(str(_folder(tmp_path / "m", text)), staging=tmp_path).features is None


def test_a_can_is_told_by_its_document(tmp_path: Path) -> None:
    """A folder with a can.json is a can, whatever it is called."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "can.json").write_text(json.dumps({}))
    assert fetch(str(tmp_path / "c"), staging=tmp_path).format == "can"


def test_a_folder_that_is_neither_says_what_it_holds(tmp_path: Path) -> None:
    """The nearest model folder below it is offered."""
    _folder(tmp_path / "out").rename(tmp_path / "inner")
    (tmp_path / "outer").mkdir()
    (tmp_path / "inner").rename(tmp_path / "outer" / "model")
    error = _refused(tmp_path / "outer", tmp_path)
    assert error.hint == f"name '{tmp_path / 'outer' / 'model'}'"


def test_files_are_named_by_path_and_by_uri(tmp_path: Path) -> None:
    """Both ways lead to the same bytes, and the given word is kept."""
    path = tmp_path / "churn.pkl"
    path.write_bytes(pickle.dumps(DummyClassifier()))
    first, second = (fetch(uri, staging=tmp_path) for uri in (str(path), path.as_uri()))
    assert first.blob == second.blob
    assert (first.origin.name, second.origin.given) == ("churn", path.as_uri())
    assert first.origin.resolved == f"churn.pkl@{first.blob.digest}"


def test_a_packed_file_is_named_without_its_packing(tmp_path: Path) -> None:
    """What `joblib.dump(model, "churn.joblib.gz")` wrote is called churn."""
    path = tmp_path / "churn.v2.joblib.gz"
    path.write_bytes(pickle.dumps({"a": 1}))
    assert fetch(str(path), staging=tmp_path).origin.name == "churn.v2"


@pytest.mark.parametrize(
    "uri", ["", "s3://bucket/model", "oci:x", "models", "file://host/x", "a\0b"]
)
def test_what_names_nothing_is_a_clear_error(tmp_path: Path, uri: str) -> None:
    """An address that can't be meant is refused before anything is asked."""
    assert _refused(uri, tmp_path).message


def test_a_mistyped_path_offers_the_nearest(tmp_path: Path) -> None:
    """The hint names the file that was probably meant."""
    (tmp_path / "model.pkl").write_bytes(b"x")
    assert "model.pkl" in (_refused(tmp_path / "modle.pkl", tmp_path).hint or "")


def test_a_device_is_no_model(tmp_path: Path) -> None:
    """A pipe would never end."""
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in _refused(tmp_path / "pipe", tmp_path).message


def test_a_fitted_object_becomes_a_source(tmp_path: Path) -> None:
    """It is written as a pickle with the versions of this process, and named by its class."""
    source = of_object(DummyClassifier(), "churn", staging=tmp_path)
    assert (source.format, source.origin.given, source.origin.name) == (
        "pickle",
        "python:DummyClassifier",
        "churn",
    )
    assert any(line.startswith("scikit-learn==") for line in source.requirements)


def test_an_object_that_cannot_be_pickled_says_why(tmp_path: Path) -> None:
    """A lambda inside an estimator is the usual cause, and the hint says what to do."""
    with pytest.raises(SourceError, match="can't be pickled") as caught:
        of_object([lambda: None], "x", staging=tmp_path)
    assert "module" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("files", "python"),
    [
        (
            {"python_env.yaml": "python: 3.10.13\n", "conda.yaml": "dependencies: [python=3.8]\n"},
            "3.10.13",
        ),
        ({"python_env.yaml": "python: 3.10\n"}, "3.10"),
        (
            {"conda.yaml": "dependencies: [python=3.8.18, {pip: [mlflow]}, python_abi=3]\n"},
            "3.8.18",
        ),
        ({"conda.yaml": "dependencies: [pythonic=3.8]\n"}, "3.11.7"),
    ],
    ids=["both", "a number", "conda", "MLmodel"],
)
def test_the_python_of_the_training_is_read(
    tmp_path: Path, files: dict[str, str], python: str
) -> None:
    """From MLflow's own file, else from conda's; a version without quotation marks is meant all the same."""
    folder = _folder(tmp_path / "model")
    (folder / "python_env.yaml").unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    assert fetch(str(folder), staging=tmp_path).python == python


def test_an_example_that_is_an_array_is_read_too(tmp_path: Path) -> None:
    """Its columns have the names that scikit-learn gives them; one of no table is left aside."""
    assert recorded_example(b"[[1.0, 2], [3.5, 4]]") == ({"x0": 1.0, "x1": 2}, {"x0": 3.5, "x1": 4})
    for odd in (b"[]", b"[1.0, 2.0]", b"[[[1.0]]]", b"[[1.0], [1.0, 2.0]]", b"3"):
        assert recorded_example(odd) == ()
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "MLmodel").write_text(
        "flavors: {sklearn: {pickled_model: model.pkl}}\n"
        "saved_input_example_info: {artifact_path: input_example.json, type: ndarray}\n"
    )
    (folder / "model.pkl").write_bytes(pickle.dumps([1]))
    (folder / "input_example.json").write_text("[[1.5]]")
    assert fetch(str(folder), staging=tmp_path / "staging").example == ({"x0": 1.5},)
