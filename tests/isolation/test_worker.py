"""Opening models in a real worker: what is answered, and what is refused."""

import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
import skops.io
from catboost import CatBoostClassifier
from originals import NUMBERS, TEXTS, cleared_file, cleared_pickle
from sklearn.cluster import DBSCAN
from sklearn.preprocessing import StandardScaler

from cannery.audits.policy import Policy
from cannery.conversions.nouns import Description
from cannery.errors import ConversionError, IsolationError, UnsafeError
from cannery.isolation.channel import Channel
from cannery.isolation.describing import describe
from cannery.isolation.environments import Environment
from cannery.isolation.messages import Graph, Write, Written
from cannery.isolation.sandbox import Level
from cannery.isolation.worker import IsolationOptions, Original, open_original
from cannery.processes import started
from cannery.signatures import Batch, Feature

FEATURES = tuple(Feature(name=name, type="double") for name in NUMBERS) + tuple(
    Feature(name=name, type="string") for name in TEXTS
)
PLAIN = tuple(Feature(name=f"x{i}", type="double") for i in range(2))


def rows_of(churn: pd.DataFrame) -> Batch:
    """Return the churn data as a batch."""
    return Batch(numbers=churn[NUMBERS].to_numpy(np.float64), strings=churn[TEXTS].to_numpy(object))


def plain_rows(count: int = 3) -> Batch:
    """Return rows of two numbers."""
    numbers = np.arange(2.0 * count).reshape(count, 2)
    return Batch(numbers=numbers, strings=np.empty((count, 0), dtype=object))


def children() -> set[int]:
    """Return the processes that this one has started and that are not dead."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(os.getpid()) and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def test_the_original_answers_as_it_does_outside(
    tmp_path: Path, pipeline: Any, churn: pd.DataFrame, environment: Environment
) -> None:
    """Labels and probabilities come through the sandbox bit by bit."""
    cleared = cleared_pickle(tmp_path / "model.pkl", pipeline)
    with open_original(cleared, environment) as original:
        raw = original.predict(rows_of(churn.head(500)), FEATURES)
    table = churn.head(500)[NUMBERS + TEXTS]
    assert np.array_equal(raw["probabilities"], pipeline.predict_proba(table))
    assert raw["label"].tolist() == pipeline.predict(table).tolist()


def test_it_says_what_it_is(tmp_path: Path, pipeline: Any, environment: Environment) -> None:
    """Task, columns, categories and classes are read from the estimator, versions from the worker."""
    cleared = cleared_pickle(tmp_path / "model.pkl", pipeline)
    with open_original(cleared, environment) as original:
        told = original.description
    assert told.type == "sklearn.pipeline.Pipeline"
    assert told.steps == ("ColumnTransformer", "GradientBoostingClassifier")
    assert (told.task, told.classes, told.named) == ("classifier", ("No", "Yes"), True)
    assert [c.name for c in told.columns] == NUMBERS + TEXTS
    assert told.columns[4].categories == ("Month-to-month", "One year", "Two year")
    assert told.versions["scikit-learn"] == environment.packages["scikit-learn"]


def test_a_name_that_was_not_cleared_is_not_resolved(
    tmp_path: Path, pipeline: Any, environment: Environment
) -> None:
    """An audit that left a name out can't be used to get it in."""
    forged = cleared_pickle(tmp_path / "model.pkl", pipeline, without="sklearn.tree._tree.Tree")
    with (
        pytest.raises(UnsafeError, match=r"'sklearn\.tree\._tree\.Tree' is not among the names"),
        open_original(forged, environment),
    ):
        pass


def test_a_hostile_pickle_behind_a_forged_audit_does_nothing(
    tmp_path: Path, environment: Environment
) -> None:
    """The payload's function is never found, and what it would have made is not there."""

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Payload()))
    forged = cleared_file(tmp_path / "model.pkl", {"sklearn.pipeline.Pipeline"})
    with pytest.raises(UnsafeError, match="mkdir"), open_original(forged, environment):
        pass
    assert not (tmp_path / "owned").exists()


def test_even_a_cleared_function_can_not_reach_out(
    tmp_path: Path, environment: Environment
) -> None:
    """Should everything before fail, the fences hold: the function runs, and makes nothing."""

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Payload()))
    forged = cleared_file(tmp_path / "model.pkl", {"posix.mkdir"})
    with (
        pytest.raises(ConversionError, match="can't be opened"),
        open_original(forged, environment),
    ):
        pass
    assert not (tmp_path / "owned").exists()


def test_a_skops_file_is_opened_with_the_cleared_types_alone(
    tmp_path: Path, pipeline: Any, environment: Environment
) -> None:
    """The one type that skops does not trust was cleared, and the pipeline answers."""
    path = tmp_path / "model.skops"
    skops.io.dump(pipeline, path)
    with open_original(
        cleared_file(path, {"sklearn.tree._tree.Tree"}, kind="skops"), environment
    ) as original:
        assert original.description.task == "classifier"


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ({"not": "a model"}, "holds a 'dict', which is no model"),
        (pd.DataFrame(np.zeros((2, 2))), r"holds a 'pandas\S*DataFrame', which is no model"),
        (DBSCAN().fit([[0.0], [0.1]]), r"DBSCAN' labels only the rows it was fitted on"),
    ],
    ids=["dict", "frame", "clusterer"],
)
def test_what_is_no_model_is_named(
    tmp_path: Path, environment: Environment, thing: Any, words: str
) -> None:
    """Honest files that answer no rows: a table, though it has `transform`, and a clusterer of its own rows."""
    cleared = cleared_pickle(tmp_path / "model.pkl", thing)
    with pytest.raises(ConversionError, match=words), open_original(cleared, environment):
        pass


@pytest.mark.parametrize("kind", [dict, list])
def test_what_holds_models_says_where_they_are(kind: type[Any]) -> None:
    """People keep a scaler, a model and names of columns together: what to save instead is told."""
    parts = {"scaler": StandardScaler(), "model": DBSCAN(), "columns": ["a", "b"]}
    bundle = parts if kind is dict else list(parts.values())
    keys = ("'scaler'", "'model'") if kind is dict else ("0", "1")
    with pytest.raises(ConversionError, match=f"holds a '{kind.__name__}'") as caught:
        describe(bundle)
    told = f"([{keys[0]}] is a StandardScaler, [{keys[1]}] is a DBSCAN); several that follow"
    assert told in str(caught.value.hint)


def test_categories_of_catboost_are_texts_without_a_sample() -> None:
    """The model knows which columns are categories, though not which there were."""
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0], "city": list("abab")})
    options = {"iterations": 2, "verbose": 0, "allow_writing_files": False}
    model = CatBoostClassifier(cat_features=["city"], **options).fit(frame, [0, 1, 0, 1])
    assert [column.text for column in describe(model).columns] == [False, True]


def test_a_model_that_was_never_fitted_is_refused(tmp_path: Path, environment: Environment) -> None:
    """There is nothing to convert in it."""
    cleared = cleared_pickle(tmp_path / "model.pkl", StandardScaler())
    with pytest.raises(ConversionError, match="not fitted"), open_original(cleared, environment):
        pass


def test_a_killed_worker_is_told_of_and_leaves_nothing(
    tmp_path: Path, pipeline: Any, churn: pd.DataFrame, environment: Environment
) -> None:
    """The error says how it ended, and no process is left."""
    before = children()
    cleared = cleared_pickle(tmp_path / "model.pkl", pipeline)
    with open_original(cleared, environment, IsolationOptions(level="landlock")) as original:
        (worker,) = children() - before
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(IsolationError, match="killed by signal 9"):
            original.predict(rows_of(churn), FEATURES)
    assert children() == before


def test_a_worker_that_takes_too_long_is_ended(
    tmp_path: Path, pipeline: Any, environment: Environment
) -> None:
    """Opening has a deadline, and nothing outlives it."""
    before = children()
    cleared = cleared_pickle(tmp_path / "model.pkl", pipeline)
    hasty = IsolationOptions(timeout=0.01)
    with (
        pytest.raises(IsolationError, match=r"did not answer within 0\.01 s"),
        open_original(cleared, environment, hasty),
    ):
        pass
    assert children() == before


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (struct.pack(">Q", 3) + b"\xc1\xc1\xc1", "makes no sense"),
        (struct.pack(">Q", 1 << 40), "announced an answer of"),
        (struct.pack(">Q", 1) + b"xxxxxx", "more than it was asked"),
        (b"", "ended with status 0"),
    ],
)
def test_a_worker_that_babbles_is_not_listened_to(said: bytes, complaint: str) -> None:
    """Whatever comes back instead of an answer is an error, and is never taken apart further."""
    program = f"import sys; sys.stdin.buffer.read(9); sys.stdout.buffer.write({said!r})"
    with started([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        channel = Channel(process, timeout=20, reply_limit=1 << 20)
        with pytest.raises(IsolationError, match=complaint):
            channel.ask(Write(runtime="skops"))


def test_a_worker_that_never_stops_complaining_is_ended() -> None:
    """The deadline holds however much comes over the other pipe."""
    program = "import sys\nwhile True: sys.stderr.write('x' * 65536)"
    with started([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        channel = Channel(process, timeout=0.5, reply_limit=1 << 20)
        with pytest.raises(IsolationError, match="did not answer within"):
            channel.ask(Write(runtime="skops"))


class Taken:
    """A channel to a worker that the model has taken over: it answers what it likes."""

    def __init__(self, reply: Graph | Written) -> None:
        self._reply = msgspec.msgpack.encode(reply)

    @contextmanager
    def original(self) -> Iterator[Original]:
        """Yield a host's side that talks to it."""
        answer = struct.pack(">Q", len(self._reply)) + self._reply
        program = (
            "import sys; h = sys.stdin.buffer.read(8);"
            "sys.stdin.buffer.read(int.from_bytes(h, 'big'));"
            f"sys.stdout.buffer.write({answer!r}); sys.stdout.flush(); sys.stdin.buffer.read()"
        )
        told = Description(type="", steps=(), task="classifier", columns=(), named=False)
        level = Level(name="rlimits", stops=())
        with started([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
            channel = Channel(process, timeout=20, reply_limit=1 << 20)
            yield Original(channel, level, told, Policy())


def test_a_graph_that_reads_files_is_not_taken_from_a_worker(tmp_path: Path) -> None:
    """What a worker makes is audited like any stranger's file before the host opens it."""
    weights = onnx.numpy_helper.from_array(np.ones(2), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, [None, 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, [None, 2])],
        [weights],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    weights = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(weights, str(tmp_path / "secret"))
    weights.ClearField("raw_data")
    reply = Graph(data=model.SerializeToString(), feeds=())
    with (
        Taken(reply).original() as original,
        pytest.raises(IsolationError, match="the worker made a model that is refused"),
    ):
        original.to_onnx(PLAIN, "g")


def test_a_skops_file_with_foreign_types_is_not_taken_from_a_worker() -> None:
    """Types that nobody cleared would be opened where the model is served."""

    class Foreign(StandardScaler):  # type: ignore[misc]
        """A class that no table lists."""

    Foreign.__module__, Foreign.__qualname__ = "os", "system"
    data = skops.io.dumps(Foreign().fit([[1.0], [2.0]]))
    with (
        Taken(Written(data=data, trusted=())).original() as original,
        pytest.raises(IsolationError, match="the worker made a model that is refused"),
    ):
        original.write("skops")


def test_what_the_worker_prints_is_not_the_answer(tmp_path: Path, environment: Environment) -> None:
    """A model that prints while it predicts is answered by its numbers all the same."""
    from sklearn.ensemble import RandomForestRegressor

    numbers = plain_rows(20).numbers
    talkative = RandomForestRegressor(n_estimators=3, random_state=0, verbose=3).fit(
        numbers, numbers[:, 0]
    )
    cleared = cleared_pickle(tmp_path / "model.pkl", talkative)
    with open_original(cleared, environment) as original:
        raw = original.predict(plain_rows(20), PLAIN)
    assert np.array_equal(raw["prediction"], talkative.predict(numbers))


def test_the_worker_goes_on_after_it_refused_a_row(
    tmp_path: Path, pipeline: Any, churn: pd.DataFrame, environment: Environment
) -> None:
    """What the model refuses is an answer too."""
    cleared = cleared_pickle(tmp_path / "model.pkl", pipeline)
    good = rows_of(churn.head(3))
    bad = Batch(numbers=np.full_like(good.numbers, np.nan), strings=good.strings)
    with open_original(cleared, environment) as original:
        with pytest.raises(ConversionError, match="the model refuses: ValueError"):
            original.predict(bad, FEATURES)
        assert len(original.predict(good, FEATURES)["label"]) == 3


def test_nothing_is_left_when_the_block_ends(
    tmp_path: Path, pipeline: Any, environment: Environment
) -> None:
    """The worker goes with the block, however deep it sits in its sandbox."""
    before = children()
    cleared = cleared_pickle(tmp_path / "model.pkl", pipeline)
    with open_original(cleared, environment):
        assert children() != before
    deadline = time.monotonic() + 10
    while children() != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert children() == before
