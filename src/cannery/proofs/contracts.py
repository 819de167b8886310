"""The contracts of the platforms: how each starts an image, and what it then asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cannery.engines.asking import ask
from cannery.engines.engine import Container
from cannery.errors import ProofError
from cannery.proofs import questions
from cannery.proofs.questions import Golden

Demand = Callable[[Container, Golden], str]
"""Asks what the platform asks; returns what was seen, or raises ProofError."""

_ENDPOINT = "/v1/endpoints/1234/deployedModels/5678"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One platform."""

    platform: str
    demand: Demand
    port: int = 8080
    port_variable: str
    """The variable by which it tells the port."""
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    """As whom it starts everything; None: as the image says."""


def _sagemaker(container: Container, golden: Golden) -> str:
    _alive(container, "/ping", patience=2.0)
    questions.instances(container, golden, "/invocations")
    csv = questions.csv(container, golden, "/invocations")
    return f"serve; /ping; /invocations with JSON{' and CSV' if csv else ''}"


def _vertex(container: Container, golden: Golden) -> str:
    _alive(container, _ENDPOINT, patience=10.0)
    questions.instances(container, golden, f"{_ENDPOINT}:predict")
    return "its own health and prediction routes; instances → predictions"


def _cloud_run(container: Container, golden: Golden) -> str:
    questions.records(container, golden)
    return "PORT; /predict"


def _kserve(container: Container, golden: Golden) -> str:
    model = f"/v1/models/{golden.model}"
    _alive(container, model)
    questions.instances(container, golden, f"{model}:predict")
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{golden.model}/ready"):
        _alive(container, path)
    questions.tensors(container, golden)
    return "v1 and v2: readiness and answers"


def _azure(container: Container, golden: Golden) -> str:
    for path in ("/", "/livez", "/readyz"):
        _alive(container, path)
    questions.input_data(container, golden, "/score")
    return "/, /livez, /readyz; /score with input_data"


def _lambda(container: Container, golden: Golden) -> str:
    _alive(container, "/")  # the adapter's readiness check, unless it is told another path
    _alive(container, "/readyz")
    questions.records(container, golden)
    return "readiness on / and /readyz; /predict as a user and group that no image knows"


def _alive(container: Container, path: str, *, patience: float = 10.0) -> None:
    """`GET` answers 200 within `patience` seconds."""
    try:
        answer = ask(container.url, path, timeout=patience)
    except OSError as error:
        raise ProofError(f"GET {path} does not answer within {patience:g} s: {error}") from error
    if answer.status != 200:
        raise ProofError(f"GET {path} answers {answer.status}, not 200")


CONTRACTS = (
    # https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
    Contract(
        platform="SageMaker",
        demand=_sagemaker,
        port_variable="SAGEMAKER_BIND_TO_PORT",
        environment={"SAGEMAKER_SAFE_PORT_RANGE": "8081-8099"},
        port=8081,
    ),
    # https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
    Contract(
        platform="Vertex AI",
        demand=_vertex,
        port_variable="AIP_HTTP_PORT",
        environment={
            "AIP_MODE": "PREDICTION",
            "AIP_HEALTH_ROUTE": _ENDPOINT,
            "AIP_PREDICT_ROUTE": f"{_ENDPOINT}:predict",
            "AIP_STORAGE_URI": "",
        },
    ),
    # https://cloud.google.com/run/docs/container-contract
    Contract(
        platform="Cloud Run",
        demand=_cloud_run,
        port_variable="PORT",
        port=8088,
        environment={"K_SERVICE": "model", "K_REVISION": "model-1", "K_CONFIGURATION": "model"},
    ),
    # https://kserve.github.io/website/docs/concepts/architecture/data-plane · OpenShift starts all as one user of group 0
    Contract(platform="KServe", demand=_kserve, port_variable="PORT", user="1000660000:0"),
    # https://learn.microsoft.com/azure/machine-learning/how-to-deploy-custom-container
    Contract(
        platform="Azure ML",
        demand=_azure,
        port_variable="PORT",
        port=5001,
        environment={"AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/model/1"},
    ),
    # https://aws.github.io/aws-lambda-web-adapter/
    Contract(
        platform="Lambda",
        demand=_lambda,
        port_variable="PORT",
        environment={"AWS_LAMBDA_FUNCTION_NAME": "model", "AWS_LWA_PORT": "8080"},
        user="993:990",
    ),
)
