"""The unpickler itself: containers, names and versions (files made here, so that it may run outside a worker)."""

import bz2
import gzip
import lzma
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import cloudpickle
import joblib
import lz4.frame
import numpy as np
import pytest
import scipy.stats
import sklearn
import skops.io
from originals import names_in
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from cannery.audits.audit import audit_bytes
from cannery.blobs import digest_bytes
from cannery.errors import ConversionError, IsolationError, UnsafeError
from cannery.isolation.opening import open_bytes

NUMBERS = np.arange(6.0).reshape(3, 2)
JOBLIB = {"joblib.numpy_pickle.NumpyArrayWrapper", "numpy.dtype"}


def opened(data: bytes, names: set[str], kind: str = "pickle") -> Any:
    """Open bytes with these names alone."""
    return open_bytes(data, format=kind, digest=digest_bytes(data), names=frozenset(names))


def scaler() -> StandardScaler:
    """Return a fitted scaler."""
    return StandardScaler().fit(NUMBERS)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_opened(protocol: int) -> None:
    """The words of the old protocols are Python 2's, and are cleared as they stand."""
    data = pickle.dumps(scaler(), protocol=protocol)
    names = names_in(data) | {"copy_reg._reconstructor", "__builtin__.object"}
    assert np.array_equal(opened(data, names).mean_, scaler().mean_)


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("plain", lambda data: data),
        ("zlib", zlib.compress),
        ("gzip", gzip.compress),
        ("bz2", bz2.compress),
        ("xz", lzma.compress),
        ("lzma", lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE)),
        ("lz4", lz4.frame.compress),
    ],
)
def test_every_container_of_joblib_is_opened(
    tmp_path: Path, name: str, compress: Callable[[bytes], bytes]
) -> None:
    """Arrays, arrays of objects among them, come back whatever compressor was used."""
    model = scaler()
    model.note_ = np.array(["a", None], dtype=object)
    joblib.dump(model, tmp_path / name)
    names = names_in(pickle.dumps(model)) | JOBLIB
    again = opened(compress((tmp_path / name).read_bytes()), names, "joblib")
    assert np.array_equal(again.transform(NUMBERS), model.transform(NUMBERS))
    assert again.note_.tolist() == ["a", None]


def test_a_pickle_inside_an_array_of_objects_is_held_to_the_same_names(tmp_path: Path) -> None:
    """Joblib keeps such arrays as a pickle of their own, which must not be a way around."""
    model = scaler()
    names = names_in(pickle.dumps(model)) | JOBLIB
    model.note_ = np.array([PurePosixPath("x"), None], dtype=object)
    joblib.dump(model, tmp_path / "model")
    with pytest.raises(UnsafeError, match="PurePosixPath"):
        opened((tmp_path / "model").read_bytes(), names, "joblib")


def test_a_dotted_name_is_no_way_to_another_name() -> None:
    """The two halves of a name are not glued together at another place."""
    data = b"\x80\x04\x8c\x02os\x8c\x09path.join\x93."
    with pytest.raises(UnsafeError):
        opened(data, {"os.path.join"})


def test_a_method_of_a_distribution_is_bound_again() -> None:
    """By cloudpickle, under the one kind of dotted name that is listed."""
    data = cloudpickle.dumps(scipy.stats.randint(1, 4))
    names = {reached.name for reached in audit_bytes(data, "pickle").names}
    assert "scipy.stats._discrete_distns.randint_gen._entropy" in names
    assert opened(data, names).support() == (1, 3)


def test_a_file_that_ends_too_early_is_damaged() -> None:
    """Half a pickle is told from a model that can't be used."""
    data = pickle.dumps(scaler())
    with pytest.raises(ConversionError, match="damaged"):
        opened(data[: len(data) // 2], names_in(data))


def test_another_version_of_scikit_learn_is_an_error() -> None:
    """Where scikit-learn would warn and go on, the opening stops."""
    data = pickle.dumps(scaler())
    version = sklearn.__version__.encode()
    with pytest.raises(IsolationError, match="environment does not fit"):
        opened(data.replace(version, b"0" * len(version)), names_in(data))


def test_a_library_that_is_not_there_is_named_with_the_way_to_it() -> None:
    """A trusted class of a library of its own: the settings can say which version it needs."""
    data = b"cacme_encoders.rare\nEncoder\n."
    with pytest.raises(ConversionError, match="No module named 'acme_encoders'") as caught:
        opened(data, {"acme_encoders.rare.Encoder"})
    assert 'versions = { acme-encoders = "…" }' in str(caught.value.hint)


def test_other_bytes_than_the_audited_are_refused() -> None:
    """The digest is checked where the file is opened."""
    data = pickle.dumps(scaler())
    with pytest.raises(IsolationError, match="other bytes"):
        open_bytes(data, format="pickle", digest=digest_bytes(b""), names=frozenset(names_in(data)))


def test_a_type_in_a_skops_file_must_have_been_cleared() -> None:
    """What skops does not trust by itself is trusted by the policy, or not at all."""
    tree = DecisionTreeRegressor(max_depth=2).fit(NUMBERS, NUMBERS[:, 0])
    data = skops.io.dumps(tree)
    again = opened(data, {"sklearn.tree._tree.Tree"}, "skops")
    assert np.array_equal(again.predict(NUMBERS), tree.predict(NUMBERS))
    with pytest.raises(UnsafeError, match="which was not cleared"):
        opened(data, set(), "skops")


@pytest.mark.parametrize("kind", ["pickle", "joblib", "skops"])
def test_a_tree_whose_nodes_lead_nowhere_is_refused(tmp_path: Path, kind: str) -> None:
    """Every name in it is listed; following it would read whatever lies in memory."""
    model = DecisionTreeRegressor().fit(NUMBERS, NUMBERS[:, 0])
    state = model.tree_.__getstate__()
    state["nodes"]["left_child"][0] = 1 << 40
    model.tree_.__setstate__(state)
    dump = {"pickle": pickle_to, "joblib": joblib.dump, "skops": skops.io.dump}[kind]
    dump(model, tmp_path / "model")
    names = names_in(pickle.dumps(model)) | JOBLIB
    with pytest.raises(UnsafeError, match="memory that is not its own"):
        opened((tmp_path / "model").read_bytes(), names, kind)


def pickle_to(thing: Any, path: Path) -> None:
    """Pickle a thing into a file."""
    path.write_bytes(pickle.dumps(thing))
