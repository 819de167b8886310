"""A workload for KServe: an inference service with a container of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cannery.deployments.pods import container_of, labels_of, pod_of
from cannery.deployments.workload import IN_FLIGHT, Workload

_CONTAINER = "kserve-container"
"""The name under which KServe looks for the predictor."""


def kserve_documents(workload: Workload) -> Iterator[dict[str, Any]]:
    """Yield the inference service; autoscaling is KServe's own."""
    ports = [{"containerPort": workload.port, "protocol": "TCP"}]
    container = container_of(workload, _CONTAINER, ports)
    del container["startupProbe"], container["lifecycle"]  # Knative takes neither
    spec = pod_of(workload, container)
    scaling = (
        {}
        if workload.max_replicas is None
        else {"scaleMetric": "concurrency", "scaleTarget": IN_FLIGHT}
    )
    yield {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": workload.name,
            "labels": labels_of(workload),
            "annotations": workload.annotations,
        },
        "spec": {
            "predictor": {
                "minReplicas": workload.replicas,
                "maxReplicas": workload.max_replicas or workload.replicas,
                **scaling,
                **spec,
            }
        },
    }
