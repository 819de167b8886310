"""Further protocols on the same model: the Open Inference Protocol, KServe's first, Azure's."""

from __future__ import annotations

import gzip
import json
import struct
import time
from typing import Any

import numpy as np
import pytest
from churn_cans import RECORD, RECORDS, SIGNATURE, Caller, MakeCan, expected
from msgspec.structs import replace

from cannery.errors import SchemaError
from cannery.serving.choices import choose, takes_threshold
from cannery.serving.gates import Gate
from cannery.serving.server import application
from cannery.serving.service import open_service
from cannery.serving.settings import Settings

INFER = "/v2/models/churn/infer"
ANSWERS = [expected(record) for record in RECORDS]


def tensor(name: str, datatype: str, data: list[Any], **more: Any) -> dict[str, Any]:
    """Return a tensor of [rows]."""
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data, **more}


def tensors() -> list[dict[str, Any]]:
    """Return RECORDS as the protocol has them."""
    return [
        tensor("contract", "BYTES", ["month", "year"]),
        tensor("monthly charges", "FP64", [89.1, 20.0]),
        tensor("tenure", "INT32", [2, 60]),
    ]


def test_the_metadata_names_a_tensor_for_each_column(call: Caller) -> None:
    """Server and model describe themselves, with and without the version."""
    assert call("GET", "/v2").json()["extensions"] == ["binary_tensor_data"]
    model = call("GET", "/v2/models/churn").json()
    assert model == call("GET", "/v2/models/churn/versions/3").json()
    assert model["inputs"] == [
        {"name": "tenure", "datatype": "INT64", "shape": [-1]},
        {"name": "contract", "datatype": "BYTES", "shape": [-1]},
        {"name": "monthly charges", "datatype": "FP64", "shape": [-1]},
    ]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/churn/ready"):
        assert call("GET", path).status_code == 200
    missing = call("GET", "/v2/models/other")
    assert missing.status_code == 404
    assert "no such path" in missing.json()["error"]


@pytest.mark.parametrize("path", [INFER, "/v2/models/churn/versions/3/infer"])
def test_tensors_are_answered_by_tensors(call: Caller, path: str) -> None:
    """A tensor for each answered field, and the caller's id."""
    answer = call("POST", path, json={"id": "a1", "inputs": tensors()}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("churn", "3", "a1")
    label, probability = answer["outputs"]
    assert label == tensor("label", "BYTES", [a["label"] for a in ANSWERS])
    assert probability["data"] == pytest.approx([a["churn_probability"] for a in ANSWERS])


def test_columns_of_width_one_and_nested_data_are_the_same(call: Caller) -> None:
    """[rows, 1] is [rows], flat or in rows."""
    plain = call("POST", INFER, json={"inputs": tensors()}).json()
    wide = [{**t, "shape": [2, 1], "data": [[v] for v in t["data"]]} for t in tensors()]
    assert call("POST", INFER, json={"inputs": wide}).json() == plain


def test_outputs_may_be_chosen(call: Caller) -> None:
    """Only what is named comes, in that order; the threshold moves the label."""
    request = {"inputs": tensors(), "outputs": [{"name": "label"}]}
    answer = call("POST", INFER, json={**request, "parameters": {"threshold": 0.999}}).json()
    assert answer["outputs"] == [tensor("label", "BYTES", ["No", "No"])]


def test_raw_bytes_go_both_ways(call: Caller) -> None:
    """Values behind the JSON, and answers as bytes, for those who ask."""
    texts = b"".join(struct.pack("<I", len(t)) + t for t in (b"month", b"year"))
    blobs = [texts, np.array([89.1, 20.0]).tobytes(), np.array([2, 60], dtype="<i4").tobytes()]
    inputs = []
    for document, blob in zip(tensors(), blobs, strict=True):
        del document["data"]
        inputs.append({**document, "parameters": {"binary_data_size": len(blob)}})
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {
        "inference-header-content-length": str(len(head)),
        "content-type": "application/octet-stream",
    }
    response = call("POST", INFER, content=head + b"".join(blobs), headers=headers)
    length = int(response.headers["inference-header-content-length"])
    label, probability = json.loads(response.content[:length])["outputs"]
    size = label["parameters"]["binary_data_size"]
    raw = response.content[length:]
    assert raw[:size] == b"\x03\0\0\0Yes\x02\0\0\0No"
    assert len(raw) == size + probability["parameters"]["binary_data_size"]
    wanted = [a["churn_probability"] for a in ANSWERS]
    assert np.frombuffer(raw[size:]).tolist() == pytest.approx(wanted)


def changed(index: int, **changes: Any) -> dict[str, Any]:
    """Return the request with one tensor changed."""
    inputs = tensors()
    inputs[index].update(changes)
    return {"inputs": inputs}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "'inputs'"),
        ({"inputs": []}, "'inputs' must be"),
        ({"inputs": [7]}, "'inputs[0]' must be an object"),
        ({"inputs": tensors(), "input": 1}, "unknown key 'input'"),
        ({"inputs": tensors()[:2]}, "[0].tenure: expected a whole number"),
        ({"inputs": tensors() + tensors()[:1]}, "appears twice"),
        ({"inputs": [*tensors(), tensor("age", "FP64", [1.0, 2.0])]}, "[0].age"),
        ({"inputs": tensors(), "id": 7}, "'id'"),
        ({"inputs": tensors(), "outputs": [{"name": "score"}]}, "outputs[0].name"),
        ({"inputs": tensors(), "outputs": {}, "parameters": []}, "'parameters'"),
        (changed(0, datatype="STRING"), "'inputs[0].datatype' must be one of"),
        (changed(0, datatype="FP64"), "inputs[0].datatype: expected BYTES for 'contract'"),
        (changed(0, shape=[3]), "2 values for the shape [3]"),
        (changed(0, shape=[2, -1]), "'inputs[0].shape'"),
        (changed(0, shape=[10**12, 10**12]), "for the shape"),
        (changed(0, shape=[1, 2]), "different numbers of rows"),
        (changed(0, data=[["month"], []]), "different lengths"),
        (changed(0, data=["month", None]), "[1].contract: expected text, got null"),
        (changed(1, data=[1e39, 1.0], datatype="FP32"), "a finite number"),
        (changed(2, data=[2.5, 1]), "[0].tenure: expected a whole number"),
        (changed(2, data=[True, 1]), "[0].tenure: expected a whole number"),
        (changed(2, parameters={"binary_data_size": 8}), "either 'data' or"),
    ],
)
def test_a_request_that_cannot_be_meant_is_400(call: Caller, body: Any, message: str) -> None:
    """The error is a text, as the protocol has it, and names the place."""
    response = call("POST", INFER, json=body)
    assert response.status_code == 400
    assert message in response.json()["error"]


@pytest.mark.parametrize("path", ["/predict", "/invocations", "/score", INFER])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"inputs":' + b"[" * 50_000,
        b'{"tenure":' + b"9" * 50_000 + b"}",
        json.dumps({f"k{n}": n for n in range(20_000)}).encode(),
        json.dumps({"inputs": {f"k{n}": [n] for n in range(20_000)}}).encode(),
        json.dumps({"inputs": [RECORD], "params": {"outputs": ["x"] * 100_000}}).encode(),
        json.dumps({"inputs": [RECORD], "params": {f"k{n}": n for n in range(20_000)}}).encode(),
        json.dumps({"inputs": [tensor(f"k{n}", "FP32", [n]) for n in range(12_000)]}).encode(),
    ],
    ids=[
        "deep",
        "deeper",
        "long number",
        "many keys",
        "many columns",
        "names",
        "params",
        "many tensors",
    ],
)
def test_no_request_takes_long_to_be_refused(call: Caller, path: str, body: bytes) -> None:
    """However it is nested and whatever it repeats: a refusal, short, at a cost in line with its length."""
    started = time.process_time()
    response = call("POST", path, content=body)
    assert response.status_code in (400, 422)
    assert len(response.content) < 100_000
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("length", "tail"),
    [("x", b""), ("99999", b""), (None, b"1234"), ("all", b"123"), ("all", b"12345")],
)
def test_raw_bytes_must_be_all_there(call: Caller, length: str | None, tail: bytes) -> None:
    """A wrong length of header, missing and surplus bytes are each refused."""
    number = {"name": "tenure", "datatype": "INT32", "shape": [1]}
    head = json.dumps({"inputs": [{**number, "parameters": {"binary_data_size": 4}}]}).encode()
    told = str(len(head)) if length == "all" else length
    headers = {"inference-header-content-length": told} if told else {}
    assert call("POST", INFER, content=head + tail, headers=headers).status_code == 400


def test_kserves_first_protocol_is_spoken(call: Caller) -> None:
    """`instances` in, `predictions` out; the model says whether it is ready."""
    answer = call("POST", "/v1/models/churn:predict", json={"instances": list(RECORDS)})
    assert answer.json() == {"predictions": [pytest.approx(a) for a in ANSWERS]}
    assert call("GET", "/v1/models/churn").json() == {"name": "churn", "ready": True}
    assert call("GET", "/v1/models").json() == {"models": ["churn"]}
    wrong = call("POST", "/v1/models/churn:predict", json={"instances": [{}]})
    assert wrong.status_code == 400
    assert "[0].tenure" in wrong.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        {"data": list(RECORDS)},
        {"input_data": list(RECORDS)},
        {
            "input_data": {
                "columns": ["contract", "monthly charges", "tenure"],
                "index": [0, 1],
                "data": [["month", 89.1, 2], ["year", 20.0, 60]],
            }
        },
    ],
)
def test_azures_forms_are_answered_by_an_array(call: Caller, body: Any) -> None:
    """The classic scoring route takes what its clients send."""
    assert call("POST", "/score", json=body).json() == [pytest.approx(a) for a in ANSWERS]


def test_a_draining_model_is_not_ready_in_any_protocol(app: Any) -> None:
    """Each protocol's readiness is the one readiness."""
    app.desk.drain()
    for path in ("/v2/health/ready", "/v2/models/churn/ready", "/v1/models/churn", "/ping"):
        assert Caller(app)("GET", path).status_code == 503


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("outputs=label", {"label": "Yes"}),
        ("outputs=label&threshold=0.99", {"label": "No"}),
        ("threshold=0&outputs=label", {"label": "Yes"}),
        (
            "outputs=probabilities",
            {"churn_probability": pytest.approx(ANSWERS[0]["churn_probability"])},
        ),
    ],
)
def test_the_caller_chooses_fields_and_threshold(call: Caller, query: str, answer: Any) -> None:
    """By query for `/predict`, by `params` for `/invocations`."""
    assert call("POST", f"/predict?{query}", json=RECORD).json() == answer
    params = dict(pair.split("=") for pair in query.split("&"))
    if "threshold" in params:
        params["threshold"] = float(params["threshold"])
    response = call("POST", "/invocations", json={"instances": [RECORD], "params": params})
    assert response.json()["predictions"] == [answer]


def test_a_label_at_the_threshold_is_the_second_class(call: Caller) -> None:
    """The threshold itself counts as over, as in scikit-learn."""
    exact = call("POST", "/predict", json=RECORD).json()["churn_probability"]
    above = float(np.nextafter(exact, 1))
    assert call("POST", f"/predict?threshold={exact!r}", json=RECORD).json()["label"] == "Yes"
    assert call("POST", f"/predict?threshold={above!r}", json=RECORD).json()["label"] == "No"


def test_the_probability_of_the_first_class_serves_a_threshold_too() -> None:
    """Where only that is answered, the second class is what is left to one."""
    label, probability = SIGNATURE.outputs
    first = replace(probability, classes=("No",))
    signature = replace(SIGNATURE, outputs=(label, first))
    answer = {"label": np.array(["No"]), first.name: np.array([0.75])}
    for threshold, expected_label in ((0.2, "Yes"), (0.3, "No")):
        choice = choose({"threshold": threshold}, signature)
        assert choice.apply(answer, signature)["label"].tolist() == [expected_label]


def test_a_threshold_is_refused_where_it_could_mean_several_labels() -> None:
    """A model of several labels, and one of three classes, have no one threshold."""
    label, probability = SIGNATURE.outputs
    for outputs in (
        (label, replace(label, name="other"), probability),
        (replace(label, classes=("a", "b", "c")), probability),
        (probability,),
    ):
        signature = replace(SIGNATURE, outputs=outputs)
        assert not takes_threshold(signature)
        with pytest.raises(SchemaError, match="threshold"):
            choose({"threshold": 0.5}, signature)


def test_gzip_bodies_are_unpacked_within_the_limit(call: Caller) -> None:
    """Packed, in two members too; a bomb is 413, what is cut or no gzip 400."""
    packed = {"content-encoding": "gzip"}
    body = json.dumps(RECORD).encode()
    whole = gzip.compress(body)
    two = gzip.compress(body[:9]) + gzip.compress(body[9:])
    for content in (whole, two):
        response = call("POST", "/predict", content=content, headers=packed)
        assert response.json() == pytest.approx(ANSWERS[0])
    for content, status in [
        (gzip.compress(b" " * (1 << 21)), 413),
        (whole[:-9], 400),
        (whole + b"x", 400),
        (b"", 400),
    ]:
        response = call("POST", "/predict", content=content, headers=packed)
        assert response.status_code == status


def test_a_gzip_body_of_very_many_members_is_refused(call: Caller) -> None:
    """Each costs a copy of the rest: megabytes of empty ones would take a thread for minutes."""
    packed = {"content-encoding": "gzip"}
    whole = gzip.compress(json.dumps(RECORD).encode())
    few, many = (gzip.compress(b"") * times + whole for times in (255, 256))
    assert call("POST", "/predict", content=few, headers=packed).status_code == 200
    answer = call("POST", "/predict", content=many, headers=packed)
    assert answer.status_code == 400
    assert "more than 256 members" in answer.text


def test_a_token_is_asked_for_but_not_of_probes(make_can: MakeCan) -> None:
    """Everything but liveness, readiness and health needs the bearer token."""
    app = application(open_service(make_can().folder), Settings(gate=Gate(token="s3cret")))
    call = Caller(app)
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
        refused = call("POST", "/predict", json=RECORD, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
    assert call("GET", "/metrics").status_code == 401
    right = {"authorization": "bearer s3cret"}
    assert call("POST", "/predict", json=RECORD, headers=right).status_code == 200
    for path in ("/livez", "/readyz", "/health", "/ping", "/v2/health/ready"):
        assert call("GET", path).status_code == 200


def test_pages_of_other_origins_may_ask_only_where_named(make_can: MakeCan, call: Caller) -> None:
    """By default no page; else those named, preflight included."""
    page = {"origin": "https://shop.example"}
    preflight = {**page, "access-control-request-method": "POST"}
    assert call("OPTIONS", "/predict", headers=preflight).status_code == 403
    assert "access-control-allow-origin" not in call("GET", "/livez", headers=page).headers
    gate = Gate(origins=frozenset({"https://shop.example"}))
    open_call = Caller(application(open_service(make_can().folder), Settings(gate=gate)))
    allowed = open_call("OPTIONS", "/predict", headers=preflight)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == page["origin"]
    foreign = open_call("GET", "/livez", headers={"origin": "https://else.example"})
    assert "access-control-allow-origin" not in foreign.headers
    assert foreign.headers["vary"] == "origin"


MANY = 200_000
SHORT_ROWS = {
    "a tensor": (
        INFER,
        {"content-type": "application/octet-stream"},
        json.dumps(
            {
                "inputs": [
                    tensor("x", "BOOL", [], parameters={"binary_data_size": MANY})
                    | {"shape": [MANY]}
                ]
            }
        ).replace('"data": [], ', ""),
        b"\x01" * MANY,
    ),
    "columns": ("/invocations", {}, '{"inputs": {"x": [1' + ",1" * MANY + "]}}", b""),
    "a table": (
        "/invocations",
        {},
        '{"dataframe_split": {"columns": [], "data": [[]' + ",[]" * MANY + "]}}",
        b"",
    ),
    "CSV": ("/invocations", {"content-type": "text/csv"}, "x\r" + "1\r" * MANY, b""),
    "records": ("/predict", {}, "[{}" + ",{}" * MANY + "]", b""),
}


@pytest.mark.parametrize("kind", SHORT_ROWS)
def test_rows_of_two_bytes_do_not_fill_the_memory(call: Caller, kind: str) -> None:
    """More rows than a body of this length is taken for are refused before they become objects."""
    path, headers, head, raw = SHORT_ROWS[kind]
    if raw:
        headers = {**headers, "inference-header-content-length": str(len(head))}
    answer = call("POST", path, content=head.encode() + raw, headers=headers)
    assert answer.status_code == 400
    assert "at most 100000 are taken" in answer.text
