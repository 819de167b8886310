"""A workload for Kubernetes alone: deployment, service, and what keeps both up and apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cannery.deployments.pods import container_of, labels_of, pod_of, selector_of
from cannery.deployments.workload import IN_FLIGHT, Workload


def kubernetes_documents(workload: Workload) -> Iterator[dict[str, Any]]:
    """Yield the documents in the order in which they are applied."""
    yield _service(workload)
    yield _policy(workload)
    if workload.replicas > 1:
        yield _budget(workload)
    yield _deployment(workload)
    if workload.max_replicas is not None:
        yield _scaler(workload, workload.max_replicas)


def _document(api: str, kind: str, workload: Workload, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": workload.name, "labels": labels_of(workload)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def _ports(workload: Workload) -> list[tuple[str, int]]:
    ports = [("http", workload.port)]
    return [*ports, ("grpc", workload.grpc_port)] if workload.grpc else ports


def _service(workload: Workload) -> dict[str, Any]:
    outside = {"http": 80}
    return _document(
        "v1",
        "Service",
        workload,
        {
            "selector": selector_of(workload),
            "ports": [
                {"name": name, "port": outside.get(name, port), "targetPort": name}
                for name, port in _ports(workload)
            ],
        },
    )


def _policy(workload: Workload) -> dict[str, Any]:
    """Let requests in; a baked model has nobody to call."""
    return _document(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        workload,
        {
            "podSelector": {"matchLabels": selector_of(workload)},
            "policyTypes": ["Ingress", "Egress"] if workload.baked else ["Ingress"],
            "ingress": [{"ports": [{"port": port} for _, port in _ports(workload)]}],
        },
    )


def _budget(workload: Workload) -> dict[str, Any]:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": selector_of(workload)}}
    return _document("policy/v1", "PodDisruptionBudget", workload, spec)


def _deployment(workload: Workload) -> dict[str, Any]:
    ports = [{"name": name, "containerPort": port} for name, port in _ports(workload)]
    seen = {"prometheus.io/scrape": "true", "prometheus.io/port": str(workload.port)}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector_of(workload)},
    }
    # A scaler decides how many there are; a number here would undo that at each apply.
    replicas = {"replicas": workload.replicas} if workload.max_replicas is None else {}
    return _document(
        "apps/v1",
        "Deployment",
        workload,
        {
            **replicas,
            "selector": {"matchLabels": selector_of(workload)},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": labels_of(workload),
                    "annotations": {**workload.annotations, **seen},
                },
                "spec": {
                    **pod_of(workload, container_of(workload, "model", ports)),
                    "topologySpreadConstraints": [spread],
                },
            },
        },
    )


def _scaler(workload: Workload, most: int) -> dict[str, Any]:
    """Scale by a metric of the pods, which an adapter takes from Prometheus to the cluster."""
    metric = {
        "metric": {"name": "http_requests_in_flight"},
        "target": {"type": "AverageValue", "averageValue": str(IN_FLIGHT)},
    }
    return _document(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        workload,
        {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": workload.name,
            },
            "minReplicas": workload.replicas,
            "maxReplicas": most,
            "metrics": [{"type": "Pods", "pods": metric}],
        },
    )
