"""One test per published advisory of other scanners and loaders that applies here, its link above it."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import hostile
import joblib
import numpy as np
import onnx
import pickles as p
import skops.io
from audit_sources import AuditBytes, make_source
from onnx import TensorProto, helper, numpy_helper
from sklearn.preprocessing import StandardScaler

from cannery.audits.audit import audit
from cannery.audits.policy import Policy, objections
from cannery.sources.fetch import fetch

COMMAND = p.text("touch owned")


# https://nvd.nist.gov/vuln/detail/CVE-2025-1716
def test_pip_main(audit_bytes: AuditBytes) -> None:
    """Picklescan did not list pip: an import of it installs packages."""
    body = p.call(p.name("pip", "main"), p.listed(p.text("install"), p.text("acme")))
    assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"


# https://github.com/mmaitre314/picklescan/security/advisories/GHSA-xp4f-hrf8-rxw7
def test_ensurepip(audit_bytes: AuditBytes) -> None:
    """Picklescan did not list ensurepip, which runs pip."""
    body = p.call(p.name("ensurepip", "_run_pip"), p.listed(p.text("install")))
    assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"


# https://github.com/mmaitre314/picklescan/security/advisories/GHSA-v7x6-rv5q-mhwc
def test_timeit(audit_bytes: AuditBytes) -> None:
    """Picklescan did not list timeit, which executes its argument."""
    body = p.call(p.name("timeit", "timeit"), p.text("import os"))
    assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"


# https://github.com/advisories/GHSA-955r-x9j8-7rhh
def test_operator_by_its_private_name(audit_bytes: AuditBytes) -> None:
    """Picklescan listed operator, and not the _operator that it comes from."""
    body = p.call(p.name("_operator", "methodcaller"), p.text("system"), COMMAND)
    assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"


# https://nvd.nist.gov/vuln/detail/CVE-2026-56315
def test_modules_of_the_standard_library_that_run_commands(audit_bytes: AuditBytes) -> None:
    """Picklescan left out modules whose private functions run commands."""
    names = [("_osx_support", "_read_output"), ("_aix_support", "_read_cmd_output")]
    names += [("_pyrepl.pager", "pipe_pager"), ("imaplib", "IMAP4_stream")]
    names += [("uuid", "_get_command_stdout")]
    for module, function in names:
        body = p.call(p.name(module, function), COMMAND)
        assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"


# https://github.com/mmaitre314/picklescan/issues/22
def test_memo_that_is_written_under_another_index(audit_bytes: AuditBytes) -> None:
    """Picklescan took the n-th memo entry, not the one that the argument names."""
    body = p.text("builtins") + p.put(5) + p.text("eval") + p.put(1)
    body += p.get(5) + p.get(1) + b"\x93" + p.pair(p.text("1")) + b"R"
    found = audit_bytes(p.make_pickle(p.MARK + body + b"l"))
    assert "builtins.eval" in {n.name for n in found.names}
    assert found.verdict == "unsafe"


# https://github.com/mmaitre314/picklescan/security/advisories/GHSA-9gvj-pp9x-gcfr
def test_a_stream_that_breaks_after_the_payload(audit_bytes: AuditBytes) -> None:
    """Picklescan gave up on a broken stream and reported nothing; the payload runs before the break."""
    body = p.call(p.name("os", "system"), COMMAND)
    found = audit_bytes(p.make_pickle(body + b"\xff\xff", stop=b""))
    assert found.verdict == "unsafe"
    assert "os.system" in {f.name for f in found.findings}


# https://nvd.nist.gov/vuln/detail/CVE-2025-1889
# https://nvd.nist.gov/vuln/detail/CVE-2025-10155
def test_a_pickle_under_any_file_name(tmp_path: Path, marker: Path) -> None:
    """Picklescan went by the suffix; here the bytes alone say what a file is."""
    for name in ("model.bin", "model.txt", "model.onnx", "model.skops", "model"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(hostile.Calls(os.system, hostile.touch(marker))))
        assert audit(fetch(str(path), staging=tmp_path / "staging")).verdict == "unsafe"
    assert not marker.exists()


def _scaler() -> bytes:
    return skops.io.dumps(StandardScaler().fit(np.eye(2)))


# https://nvd.nist.gov/vuln/detail/CVE-2025-1944
def test_a_zip_whose_local_name_differs(audit_bytes: AuditBytes) -> None:
    """Picklescan stopped at a member with two names, which other readers open."""
    data = _scaler().replace(b"schema.json", b"schema.jsox", 1)
    assert audit_bytes(data, "skops").verdict == "unsafe"


# https://nvd.nist.gov/vuln/detail/CVE-2025-1945
def test_a_zip_whose_flags_differ(audit_bytes: AuditBytes) -> None:
    """Picklescan failed on flag bits that other readers ignore."""
    data = bytearray(_scaler())
    struct.pack_into("<H", data, 6, 0x1)
    assert audit_bytes(bytes(data), "skops").verdict == "unsafe"


# https://nvd.nist.gov/vuln/detail/CVE-2025-10156
def test_a_zip_with_a_wrong_checksum(audit_bytes: AuditBytes) -> None:
    """Picklescan stopped at a wrong checksum, which other readers ignore."""
    data = bytearray(_scaler())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 16] ^= 0xFF
    assert audit_bytes(bytes(data), "skops").verdict == "unsafe"


# https://nvd.nist.gov/vuln/detail/CVE-2025-10157
def test_a_submodule_of_a_dangerous_module(audit_bytes: AuditBytes) -> None:
    """Picklescan compared whole module names, so that a submodule was merely suspicious."""
    body = p.call(p.name("asyncio.unix_events", "_UnixSubprocessTransport._start"), COMMAND)
    assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"


# https://github.com/trailofbits/fickling/security/advisories/GHSA-mhc9-48gj-9gp3
def test_a_call_that_is_followed_by_build(audit_bytes: AuditBytes) -> None:
    """Fickling no longer saw a call once a BUILD followed it."""
    body = p.built(p.call(p.name("signal", "signal"), p.number(15), p.NONE), p.items())
    assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"


# https://nvd.nist.gov/vuln/detail/CVE-2026-22608
def test_ctypes_and_pydoc(audit_bytes: AuditBytes) -> None:
    """Fickling did not list pydoc.locate, which imports anything by its path, nor ctypes."""
    body = p.call(p.name("pydoc", "locate"), p.text("ctypes.windll.kernel32.WinExec"))
    assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"


# https://hiddenlayer.com/sai-security-advisory/skops-june2024 (CVE-2024-37065)
def test_trust_is_never_taken_from_the_file(audit_bytes: AuditBytes) -> None:
    """Skops could be told to trust whatever a file holds; a policy names each type, outside the file."""
    schema = {
        "__class__": "Popen", "__module__": "subprocess", "__loader__": "ObjectNode",
        "content": None, "protocol": 2, "trusted": ["subprocess.Popen"],
    }  # fmt: skip
    found = audit_bytes(_zip(schema), "skops")
    assert found.verdict == "unsafe"
    everything = Policy(names={name.name: "seen" for name in found.names})
    assert objections(found, everything)


def _zip(schema: Any) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    return stream.getvalue()


# https://nvd.nist.gov/vuln/detail/CVE-2025-54412
def test_an_operator_node_of_another_class(audit_bytes: AuditBytes) -> None:
    """Skops' OperatorFuncNode called operator.<class> whatever module the node claimed to be of."""
    arguments = {
        "__class__": "tuple",
        "__module__": "builtins",
        "__loader__": "TupleNode",
        "content": [],
    }
    for module in ("builtins", "operator", "sklearn.linear_model._base"):
        schema = {
            "__class__": "call", "__module__": module, "__loader__": "OperatorFuncNode",
            "attrs": arguments, "protocol": 2,
        }  # fmt: skip
        assert audit_bytes(_zip(schema), "skops").verdict == "unsafe"


# https://nvd.nist.gov/vuln/detail/CVE-2025-54413
def test_a_method_node_of_another_class(audit_bytes: AuditBytes) -> None:
    """Skops' MethodNode showed one class and looked its method up on another."""
    inner = {
        "__class__": "Popen", "__module__": "subprocess", "__loader__": "ObjectNode", "content": None,
    }  # fmt: skip
    schema = {
        "__class__": "StandardScaler", "__module__": "sklearn.preprocessing._data",
        "__loader__": "MethodNode", "content": {"func": "fit", "obj": inner}, "protocol": 2,
    }  # fmt: skip
    found = audit_bytes(_zip(schema), "skops")
    assert found.verdict == "unsafe"
    assert "subprocess.Popen" in {n.name for n in found.names}


# https://nvd.nist.gov/vuln/detail/CVE-2025-54886
def test_a_pickle_that_is_called_skops(tmp_path: Path, marker: Path) -> None:
    """Skops' model card opened by joblib whatever was no zip; here a file of skops is nothing else."""
    data = pickle.dumps(hostile.Calls(os.system, hostile.touch(marker)))
    found = audit(make_source(tmp_path, {"m.skops": data}, "m.skops", "skops"))
    assert found.verdict == "unsafe"
    assert not marker.exists()


# https://nvd.nist.gov/vuln/detail/CVE-2024-34997
def test_a_pickle_inside_an_array_of_joblib(audit_bytes: AuditBytes, marker: Path) -> None:
    """Joblib opens arrays of objects by pickle.load: the audit follows that pickle too."""
    stream = io.BytesIO()
    joblib.dump(np.array([hostile.Calls(os.system, hostile.touch(marker))], dtype=object), stream)
    assert audit_bytes(stream.getvalue(), "joblib").verdict == "unsafe"
    assert not marker.exists()


# https://nvd.nist.gov/vuln/detail/CVE-2019-6446
def test_an_array_file_of_objects(audit_bytes: AuditBytes) -> None:
    """numpy.load ran the pickle inside an array of objects; such a member is refused."""
    array = io.BytesIO()
    np.save(array, np.array([hostile.Calls(print, 1)], dtype=object), allow_pickle=True)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", array.getvalue())
        node = {
            "__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode",
            "type": "numpy", "file": "a.npy", "protocol": 2,
        }  # fmt: skip
        archive.writestr("schema.json", json.dumps(node))
    assert audit_bytes(stream.getvalue(), "skops").verdict == "unsafe"


def _external(location: str) -> bytes:
    tensor = numpy_helper.from_array(np.array([1.0]), "c")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "c"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)],
        [tensor],
    )
    opsets = [helper.make_opsetid("", 21)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return model.SerializeToString()


# https://nvd.nist.gov/vuln/detail/CVE-2022-25882
# https://nvd.nist.gov/vuln/detail/CVE-2024-27318
def test_external_data_that_climbs(audit_bytes: AuditBytes) -> None:
    """Onnx read files outside the model's folder, twice."""
    for location in ("../../etc/passwd", "a/../../../etc/passwd", "/etc/passwd"):
        assert audit_bytes(_external(location), "onnx").verdict == "unsafe"


# https://nvd.nist.gov/vuln/detail/CVE-2026-27489
# https://nvd.nist.gov/vuln/detail/CVE-2026-34447
# https://github.com/advisories/GHSA-cmw6-hcpp-c6jp
def test_external_data_through_links(audit_bytes: AuditBytes) -> None:
    """Onnx followed symbolic and hard links: no external data is read at all, not even beside the file."""
    for location in ("weights.bin", "links/weights.bin"):
        found = audit_bytes(_external(location), "onnx")
        assert [f.rule for f in found.findings] == ["external-data"]


# https://github.com/scikit-learn/scikit-learn/pull/34558
def test_a_tree_that_points_nowhere(audit_bytes: AuditBytes) -> None:
    """Trees follow child and feature indices in native code: in a graph they must point at something."""
    from test_onnx_graphs import TREES

    assert all(audit_bytes(data, "onnx").verdict == "unsafe" for data in TREES.values())


# https://github.com/protectai/modelscan/issues/330
def test_a_listed_name_that_is_given_a_state(audit_bytes: AuditBytes) -> None:
    """Modelscan took every name of numpy: one of them was given a state, and another held eval."""
    body = p.built(p.name("numpy", "size"), p.pair(p.EMPTY_DICT, p.items(shape=p.number(3))))
    found = audit_bytes(p.make_pickle(body))
    assert (found.verdict, {f.rule for f in found.findings}) == ("unsafe", {"foreign-state"})
    assert audit_bytes(p.make_pickle(p.name("numpy", "__builtins__"))).verdict != "safe"


# https://github.com/protectai/modelscan/issues/331
def test_names_that_are_put_together(audit_bytes: AuditBytes) -> None:
    """Modelscan could not read a name that the file itself put together from its letters."""
    joined = p.call(
        p.call(p.name("builtins", "getattr"), p.name("builtins", "str"), p.text("join")),
        p.text(""),
        p.listed(p.text("o"), p.text("s")),
    )
    module = p.call(p.name("importlib", "import_module"), joined)
    body = p.call(p.call(p.name("builtins", "getattr"), module, p.text("system")), COMMAND)
    assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"


# https://github.com/mmaitre314/picklescan/security/advisories/GHSA-vvpj-8cmc-gx39
def test_one_name_that_reaches_every_other(audit_bytes: AuditBytes) -> None:
    """Picklescan did not list what resolves a name from its text."""
    body = p.call(p.call(p.name("pkgutil", "resolve_name"), p.text("os:system")), COMMAND)
    assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"


# https://nvd.nist.gov/vuln/detail/CVE-2020-13091
# https://nvd.nist.gov/vuln/detail/CVE-2020-13092
def test_what_pandas_and_scikit_learn_read_as_it_is(audit_bytes: AuditBytes) -> None:
    """Both say of `read_pickle` and of joblib's files that they run what they hold."""
    body = p.listed(p.call(p.name("posix", "system"), COMMAND))
    assert audit_bytes(p.make_pickle(body)).verdict == "unsafe"
    assert audit_bytes(zlib.compress(p.make_pickle(body)), "joblib").verdict == "unsafe"


# https://nvd.nist.gov/vuln/detail/CVE-2024-37052
# https://nvd.nist.gov/vuln/detail/CVE-2024-37056
def test_a_model_in_a_folder_of_mlflow(audit_folder: AuditBytes) -> None:
    """MLflow opens the pickles of its folders, whichever library they say that they are of."""
    payload = p.make_pickle(p.call(p.name("posix", "system"), COMMAND))
    for flavor in ("sklearn", "lightgbm"):
        mlmodel = {
            "flavors": {
                "python_function": {"loader_module": f"mlflow.{flavor}", "model_path": "model.pkl"},
                flavor: {"pickled_model": "model.pkl"},
            }
        }
        assert audit_folder({"model.pkl": payload}, "model.pkl", mlmodel).verdict == "unsafe"


# https://nvd.nist.gov/vuln/detail/CVE-2025-32434
def test_an_old_archive_of_torch(audit_bytes: AuditBytes) -> None:
    """Torch opened archives of its first form in full, though asked for weights only."""
    payload = p.make_pickle(p.call(p.name("posix", "system"), COMMAND), protocol=2)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(payload)
            archive.addfile(member, io.BytesIO(payload))
    assert audit_bytes(stream.getvalue(), "archive").verdict == "unsafe"
