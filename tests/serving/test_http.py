"""The HTTP interface, called in this process."""

from __future__ import annotations

import json
import platform
import re

import httpx
import numpy as np
import onnxruntime
import pytest
from churn_cans import RECORD, RECORDS, SIGNATURE, Caller, MakeCan, errors_of, expected, make_graph

from cannery.cans.open import open_can
from cannery.serving.http import Application
from cannery.serving.messages import Request
from cannery.serving.metrics import Metrics
from cannery.serving.routes import HEALTH_AGE, Desk
from cannery.serving.server import application
from cannery.serving.service import load, open_service
from cannery.serving.settings import Settings


def test_a_record_is_answered_by_a_record(call: Caller) -> None:
    """One object in, one object out."""
    response = call("POST", "/predict", json=RECORD)
    assert response.status_code == 200
    assert response.json() == pytest.approx(expected(RECORD))


def test_a_list_is_answered_by_a_list(call: Caller) -> None:
    """Answers stand in the order of the records; none give none."""
    response = call("POST", "/predict", json=list(RECORDS))
    assert [a["label"] for a in response.json()] == [expected(r)["label"] for r in RECORDS]
    assert call("POST", "/predict", json=[]).json() == []


def test_an_unseen_category_is_scored_where_the_model_can(call: Caller) -> None:
    """The encoder's default answers for a contract that nobody had."""
    record = {**RECORD, "contract": "decade"}
    assert call("POST", "/predict", json=record).json() == pytest.approx(expected(record))


def test_a_wrong_record_names_every_issue(call: Caller) -> None:
    """422 with path, expected and got for each field."""
    response = call("POST", "/predict", json=[RECORD, {"tenure": "2", "contract": "month"}])
    assert response.status_code == 422
    assert errors_of(response) == [
        ("[1].tenure", "a whole number", '"2"'),
        ('[1]["monthly charges"]', "a number", "nothing"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("POST", "/predict", {"content": b"{"}, 400),
        ("POST", "/predict", {"content": b'{"a":1,"a":2}'}, 400),
        ("POST", "/predict", {"content": b"7"}, 422),
        ("GET", "/nowhere", {}, 404),
        ("GET", "/predict", {}, 405),
        ("POST", "/health", {}, 405),
        ("POST", "/predict", {"content": b" " * ((1 << 20) + 1)}, 413),
        ("POST", "/predict", {"data": {"tenure": 2}}, 415),
        ("POST", "/predict", {"content": b"{}", "headers": {"content-encoding": "br"}}, 415),
        ("POST", "/predict", {"content": b"{}", "headers": {"content-encoding": "gzip"}}, 400),
        ("POST", "/predict?outputs=none", {"json": RECORD}, 422),
        ("POST", "/predict?outputs=label,label", {"json": RECORD}, 422),
        ("POST", "/predict?treshold=0.5", {"json": RECORD}, 422),
        ("POST", "/predict?threshold=nan", {"json": RECORD}, 422),
        ("POST", "/predict?threshold=0.1&threshold=0.2", {"json": RECORD}, 422),
        ("POST", "/predict?" + "&".join(["outputs=label"] * 50), {"json": RECORD}, 422),
        (
            "POST",
            "/predict",
            {"content": b"{}", "headers": {"content-type": "application/json; charset=utf-16"}},
            415,
        ),
    ],
)
def test_errors_have_their_status_and_one_form(
    call: Caller, method: str, path: str, options: dict, status: int
) -> None:
    """Every error is JSON with a message and a list of issues."""
    response = call(method, path, **options)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["message"]
    assert isinstance(error["issues"], list)


def test_a_body_that_lies_about_its_length_meets_the_limit_too(call: Caller) -> None:
    """A chunked body is counted as it comes."""

    async def chunks():
        for _ in range(20):
            yield b" " * 100_000

    assert call("POST", "/predict", content=chunks()).status_code == 413


def test_a_refused_method_says_which_are_allowed(call: Caller) -> None:
    """405 carries Allow."""
    assert call("GET", "/predict").headers["allow"] == "POST"
    assert call("DELETE", "/health").headers["allow"] == "GET, HEAD"


def test_the_request_id_is_echoed_or_made(call: Caller) -> None:
    """A sane id comes back, another is replaced, and the model names itself."""
    given = call("GET", "/livez", headers={"x-request-id": "abc-1.2"})
    assert given.headers["x-request-id"] == "abc-1.2"
    made = call("GET", "/livez", headers={"x-request-id": "<script>"}).headers
    assert re.fullmatch("[0-9a-f]{32}", made["x-request-id"])
    assert made["x-model-version"] == "3"
    assert made["x-model-digest"].startswith("sha256:")


def test_a_large_request_is_answered_like_a_small_one(call: Caller) -> None:
    """What is scored in a thread gives the same answers."""
    response = call("POST", "/predict", json=[RECORD] * 5000)
    assert response.json() == [pytest.approx(expected(RECORD))] * 5000


def test_health_is_the_canary(call: Caller) -> None:
    """A healthy service says so under every name."""
    for path in ("/health", "/healthz", "/readyz", "/ping", "/livez"):
        assert call("GET", path).status_code == 200
    assert call("HEAD", "/health").status_code == 200


@pytest.mark.parametrize("factor", [float("nan"), 10.0, 0.99])
def test_a_model_that_answers_wrongly_is_unhealthy(make_can: MakeCan, factor: float) -> None:
    """NaN, a number outside [0, 1] and a drifted one are each 503 with the reason."""
    can = make_can(graph=make_graph(factor=factor))
    app = application(load(open_can(can.folder)), Settings())
    response = Caller(app)("GET", "/health")
    assert response.status_code == 503
    assert "churn_probability" in response.json()["reason"]
    assert Caller(app)("GET", "/readyz").status_code == 503
    assert "cannery_canary_ok 0" in Caller(app)("GET", "/metrics").text


def test_an_answer_that_cannot_be_right_is_never_sent(make_can: MakeCan) -> None:
    """A NaN is a 500 that names the field, and no JSON with NaN or null."""
    can = make_can(graph=make_graph(factor=np.nan))
    response = Caller(application(load(can), Settings()))("POST", "/predict", json=RECORD)
    assert response.status_code == 500
    assert "'churn_probability' is nan" in response.json()["error"]["message"]


class Counting:
    """A service that counts how often its canary is scored."""

    def __init__(self, service) -> None:
        self.checks = 0
        self.service = service

    def check(self):
        """Score the canary and count."""
        self.checks += 1
        return self.service.check()


def test_a_storm_of_probes_scores_the_canary_once_a_second(make_can: MakeCan) -> None:
    """Health is asked of the model only when the last answer is old."""
    counting = Counting(open_service(make_can().folder))
    now = [100.0]
    desk = Desk(counting, Metrics({}, 0.0), clock=lambda: now[0])
    for _ in range(50):
        assert desk.health().healthy
    assert counting.checks == 1
    now[0] += HEALTH_AGE
    assert desk.health().healthy
    assert counting.checks == 2


def test_a_draining_service_is_alive_but_not_ready(app: Application) -> None:
    """Readiness ends at once; what still arrives is answered."""
    app.desk.drain()
    call = Caller(app)
    assert call("GET", "/readyz").status_code == 503
    assert call("GET", "/readyz").json()["reason"] == "draining"
    assert call("GET", "/livez").status_code == 200
    assert call("POST", "/predict", json=RECORD).status_code == 200


def test_version_tells_which_model_exactly(call: Caller) -> None:
    """Name, version, digest, where it came from, and what scores."""
    version = call("GET", "/version").json()
    assert (version["name"], version["version"], version["runtime"]) == ("churn", "3", "onnx")
    assert version["source"]["given"] == "models:/churn@champion"
    assert version["source"]["resolved"] == "models:/churn/3"
    assert version["digest"] == call("GET", "/").json()["digest"]
    assert version["libraries"]["onnxruntime"] == onnxruntime.__version__
    assert version["libraries"]["python"] == platform.python_version()


def test_metrics_count_requests_by_route(call: Caller) -> None:
    """Field-standard names; a made-up path is counted as `other`."""
    call("POST", "/predict", json=list(RECORDS))
    call("POST", "/predict", content=b"{")
    call("GET", "/made/up")
    text = call("GET", "/metrics").text
    assert 'http_requests_total{method="POST",path="/predict",code="200"} 1' in text
    assert 'http_requests_total{method="POST",path="/predict",code="400"} 1' in text
    assert 'http_requests_total{method="other",path="other",code="404"} 1' in text
    assert 'http_request_duration_seconds_count{path="/predict"} 2' in text
    assert "cannery_rows_total 2" in text
    assert "made/up" not in text


def test_vertex_may_name_the_paths(make_can: MakeCan) -> None:
    """Further routes come from the environment of the platform."""
    aliases = {"/v1/score": "/invocations", "/v1/health": "/ping"}
    call = Caller(application(open_service(make_can().folder), Settings(aliases=aliases)))
    assert call("GET", "/v1/health").status_code == 200
    response = call("POST", "/v1/score", json={"instances": [RECORD]})
    assert response.json()["predictions"] == [pytest.approx(expected(RECORD))]


FORMS = {
    "records": {"dataframe_records": list(RECORDS)},
    "split": {
        "dataframe_split": {
            "index": [0, 1],
            "columns": ["contract", "tenure", "monthly charges"],
            "data": [["month", 2, 89.1], ["year", 60, 20]],
        }
    },
    "instances": {"instances": [[2, "month", 89.1], RECORDS[1]], "params": None},
    "inputs as rows": {"inputs": list(RECORDS)},
    "inputs as columns": {
        "inputs": {"tenure": [2, 60], "contract": ["month", "year"], "monthly charges": [89.1, 20]}
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_mlflows_forms_give_the_same_predictions(call: Caller, form: str) -> None:
    """Each JSON form of the scoring protocol answers the same records."""
    response = call("POST", "/invocations", json=FORMS[form])
    assert response.json() == {"predictions": [pytest.approx(expected(r)) for r in RECORDS]}


def test_csv_is_read_by_its_header(call: Caller) -> None:
    """Columns in any order, with quotes where needed."""
    text = 'contract,"monthly charges",tenure\nmonth,89.1,2\r\n"year",20,60\n'
    headers = {"content-type": "text/csv; charset=utf-8"}
    response = call("POST", "/invocations", content=text.encode(), headers=headers)
    assert response.json() == {"predictions": [pytest.approx(expected(r)) for r in RECORDS]}


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"instances": [], "inputs": []},
        {"other": []},
        {"dataframe_split": {"columns": ["a"]}},
        {"dataframe_split": {"columns": ["a", "a"], "data": []}},
        {"dataframe_split": {"columns": ["tenure"], "data": [[1, 2]]}},
        {"inputs": {"tenure": [1, 2], "contract": ["month"]}},
        {"dataframe_records": {"tenure": 2}},
        {"dataframe_records": [{"tenure": 2}]},
        {"instances": [RECORD], "params": {"temperature": 1}},
    ],
)
def test_bad_input_to_invocations_is_400(call: Caller, body: object) -> None:
    """Whatever is wrong, MLflow's protocol says 400."""
    response = call("POST", "/invocations", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    "text", ["", "tenure,tenure\n1,2\n", "tenure\n1,2\n", 'a\n"b', "tenure,contract\n1_0,month\n"]
)
def test_bad_csv_is_400(call: Caller, text: str) -> None:
    """A CSV that can't be meant is refused, with the reason."""
    headers = {"content-type": "text/csv"}
    response = call("POST", "/invocations", content=text.encode(), headers=headers)
    assert response.status_code == 400


@pytest.mark.parametrize("text", ["2,month,89.1\n60,year,20.0\n", "2,month,89.1\r\n60,year,20.0"])
def test_csv_without_a_header_is_read_in_the_models_order(call: Caller, text: str) -> None:
    """As SageMaker's callers send it: the first line has numbers where the model takes them."""
    answer = call("POST", "/invocations", content=text, headers={"content-type": "text/csv"})
    assert answer.json() == {"predictions": [pytest.approx(expected(r)) for r in RECORDS]}


@pytest.mark.parametrize("text", ["0,1,2\n2,month,89.1\n", "a,b,c\n2,month,89.1\n", "2,month\n"])
def test_names_that_the_model_does_not_know_are_no_row(call: Caller, text: str) -> None:
    """Nor are the numbers that pandas gives to columns without names, nor a row that is too short."""
    answer = call("POST", "/invocations", content=text, headers={"content-type": "text/csv"})
    assert answer.status_code == 400


def test_a_csv_cell_that_is_no_number_is_named(call: Caller) -> None:
    """The issue has row and field, as in JSON."""
    text = "contract,monthly charges,tenure\nmonth,much,\n"
    headers = {"content-type": "text/csv"}
    response = call("POST", "/invocations", content=text.encode(), headers=headers)
    assert errors_of(response) == [
        ("[0].tenure", "a whole number", "null"),
        ('[0]["monthly charges"]', "a number", '"much"'),
    ]


def test_another_content_type_is_415(call: Caller) -> None:
    """What is no table in a form of these protocols is not taken."""
    headers = {"content-type": "application/x-npy"}
    response = call("POST", "/invocations", content=b"\x93NUMPY", headers=headers)
    assert response.status_code == 415


def test_the_openapi_document_is_of_this_model(call: Caller) -> None:
    """Its schemas have the model's fields, its example is the canary and is answered as it says."""
    document = call("GET", "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert list(document["components"]["schemas"]["Record"]["properties"]) == [
        f.name for f in SIGNATURE.features
    ]
    operation = document["paths"]["/predict"]["post"]
    asked = operation["requestBody"]["content"]["application/json"]["examples"]["record"]["value"]
    answered = operation["responses"]["200"]["content"]["application/json"]["examples"]
    assert call("POST", "/predict", json=asked).json() == pytest.approx(answered["record"]["value"])


def test_every_get_path_of_the_openapi_document_exists(call: Caller) -> None:
    """The document promises nothing that is not there."""
    for path, operations in call("GET", "/openapi.json").json()["paths"].items():
        if "get" in operations:
            assert call("GET", path).status_code == 200


def test_the_schema_describes_records_and_answers(call: Caller) -> None:
    """Required fields, no other, categories as examples, the probability's range."""
    schema = call("GET", "/schema").json()
    record, answer = schema["$defs"]["record"], schema["$defs"]["answer"]
    assert record["additionalProperties"] is False
    assert record["required"] == ["tenure", "contract", "monthly charges"]
    assert record["properties"]["contract"]["examples"] == ["month", "year"]
    assert answer["properties"]["churn_probability"]["maximum"] == 1


def test_an_unexpected_failure_neither_tells_nor_logs_the_payload(
    app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug becomes a 500 whose message and log hold nothing of the request."""

    def broken(request: Request):
        raise ValueError(request.body.decode())

    app.routes = {"/predict": {"POST": broken}}
    response = Caller(app)("POST", "/predict", content=b'"secret value"')
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_json_is_strict(call: Caller) -> None:
    """No answer holds a constant that JSON does not know."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    response: httpx.Response = call("POST", "/predict", json=list(RECORDS))
    assert json.loads(response.content, parse_constant=refuse)
