"""The pod of a workload, as restricted as Kubernetes' strictest standard asks, and a little more."""

from __future__ import annotations

from typing import Any

from cannery.deployments.workload import Workload

GRACE = 20
"""Seconds from the wish to end a pod until it is killed: 5 for the others to notice, 10 to drain."""
_NOTICE = 5


def labels_of(workload: Workload) -> dict[str, str]:
    """Return the labels of everything that belongs to the workload."""
    return {**selector_of(workload), **workload.labels}


def selector_of(workload: Workload) -> dict[str, str]:
    """Return the labels by which its pods are found; they never change."""
    return {"app.kubernetes.io/name": workload.name}


def pod_of(workload: Workload, container: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a pod with this one container."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        **({} if workload.baked else {"volumes": [{"name": "cache", "emptyDir": {}}]}),
    }


def container_of(workload: Workload, name: str, ports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the container, with its probes, resources and the rights that it has: none."""
    environment = [{"name": key, "value": value} for key, value in workload.environment.items()]
    return {
        "name": name,
        "image": workload.image,
        "ports": ports,
        **({"env": environment} if environment else {}),
        "resources": {
            "requests": {"cpu": workload.cpu, "memory": workload.memory},
            "limits": {"memory": workload.memory},
        },
        "startupProbe": {
            **_probe(workload, "/readyz"),
            "periodSeconds": 1,
            "failureThreshold": 120,
        },
        "readinessProbe": {
            **_probe(workload, "/readyz"),
            "periodSeconds": 5,
            "failureThreshold": 2,
        },
        "livenessProbe": {**_probe(workload, "/livez"), "periodSeconds": 10, "failureThreshold": 3},
        # Whoever sends requests hears of the end of a pod a little after the pod itself.
        "lifecycle": {"preStop": {"sleep": {"seconds": _NOTICE}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **({} if workload.baked else {"volumeMounts": [{"name": "cache", "mountPath": "/tmp"}]}),
    }


def _probe(workload: Workload, path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": workload.port}, "timeoutSeconds": 3}
