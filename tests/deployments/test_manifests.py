"""What Kubernetes and KServe are given: valid by Kubernetes' own schemas, restricted, pinned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from model_images import model_image

from cannery.deployments.kserve import kserve_documents
from cannery.deployments.kubernetes import kubernetes_documents
from cannery.deployments.workload import DeployOptions, Workload, workload_of
from cannery.errors import UsageError
from cannery.oci.layout import write_layout
from cannery.subjects import look

VERSIONS = ("1.30", "1.37")
ADDRESS = "registry.example/team/churn@sha256:" + "0" * 64


@pytest.fixture
def workload(tmp_path: Path) -> Callable[..., Workload]:
    """Return what makes a workload of an image with these options."""

    def made(*, baked: bool = True, **options: Any) -> Workload:
        place = tmp_path / ("baked" if baked else "empty")
        if not place.exists():
            write_layout(model_image(place, baked=baked), place / "x.oci")
        return workload_of(look(f"oci:{place}/x.oci"), ADDRESS, DeployOptions(**options))

    return made


def by_kind(documents: Iterator[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return documents by their kind."""
    return {document["kind"]: document for document in documents}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_documents_are_valid_in_every_field(
    workload: Callable[..., Workload], version: str
) -> None:
    """Kubernetes' own schemas, strict: no field that it does not know."""
    for made in (
        workload(max_replicas=9),
        workload(baked=False, model_uri="models:/churn@champion", replicas=1),
    ):
        for document in kubernetes_documents(made):
            kubernetes_validate.validate(document, version, strict=True)


def test_a_pod_has_no_right_that_it_does_not_need(workload: Callable[..., Workload]) -> None:
    """What Kubernetes' restricted standard asks of a pod, by its own words."""
    for spec in (
        by_kind(kubernetes_documents(workload()))["Deployment"]["spec"]["template"]["spec"],
        by_kind(kserve_documents(workload()))["InferenceService"]["spec"]["predictor"],
    ):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["image"] == ADDRESS
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 8080}
        assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": 8080}
        assert "volumes" not in spec


def test_a_baked_model_calls_nobody(workload: Callable[..., Workload]) -> None:
    """Outward traffic is closed where the model is inside, and open where it is pulled."""
    closed = by_kind(kubernetes_documents(workload()))["NetworkPolicy"]["spec"]
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in closed
    pulled = workload(baked=False, model_uri="models:/churn@champion")
    documents = by_kind(kubernetes_documents(pulled))
    assert documents["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress"]
    spec = documents["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["env"] == [{"name": "MODEL_URI", "value": "models:/churn@champion"}]
    assert container["volumeMounts"] == [{"name": "cache", "mountPath": "/tmp"}]
    assert spec["volumes"] == [{"name": "cache", "emptyDir": {}}]


def test_replicas_are_kept_apart_and_scaled(workload: Callable[..., Workload]) -> None:
    """One has no budget; a scaler alone says how many there are."""
    assert "PodDisruptionBudget" not in by_kind(kubernetes_documents(workload(replicas=1)))
    documents = by_kind(kubernetes_documents(workload(max_replicas=5)))
    assert "replicas" not in documents["Deployment"]["spec"]
    scaler = documents["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 5)
    service = by_kind(kserve_documents(workload(max_replicas=5)))["InferenceService"]
    assert service["spec"]["predictor"]["scaleMetric"] == "concurrency"


def test_memory_grows_with_the_model(workload: Callable[..., Workload]) -> None:
    """A small model takes little; what is asked for is kept."""
    made = workload()
    assert (made.name, made.memory, made.cpu) == ("churn-model", "256Mi", "1")
    assert workload(memory="2Gi").memory == "2Gi"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "Churn_1"}, "'Churn_1' is no name for Kubernetes"),
        ({"replicas": 0}, "0 replicas serve nobody"),
        ({"max_replicas": 1}, "at most 1 replicas are fewer than 2"),
        ({"memory": "lots"}, "--memory 'lots' is no quantity"),
        ({"cpu": "-1"}, "--cpu '-1' is no quantity"),
        ({"model_uri": "models:/x/1"}, "has its model inside"),
        ({"baked": False}, "has no model inside"),
    ],
)
def test_what_can_t_run_is_refused(
    workload: Callable[..., Workload], options: dict[str, Any], said: str
) -> None:
    """Each with the value and the remedy."""
    with pytest.raises(UsageError, match=said):
        workload(**options)
