"""What a cluster would do with our documents, Podman does: it starts the pod, and the pod answers."""

from __future__ import annotations

import json
import os
import time
import urllib.request

import pytest
import yaml

from cannery.deployments.kubernetes import kubernetes_documents
from cannery.deployments.workload import DeployOptions, workload_of
from cannery.engines.podman import podman
from cannery.oci.references import parse
from cannery.processes import run
from cannery.subjects import Looking, look

pytestmark = [pytest.mark.network, pytest.mark.podman]
NAME = "cannery-deployed"
LIMITS = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
"""Inside another container Podman may not ask for more."""


def test_podman_runs_the_deployment(image, can, tmp_path) -> None:
    """Read-only, without rights, as the image's own user; the canary comes out as recorded."""
    engine = podman()
    subject = engine.load(image, parse(f"localhost/{NAME}:v1"))
    (tmp_path / "containers.conf").write_text(LIMITS)
    words = engine.find().words
    env = {**os.environ, "CONTAINERS_CONF": str(tmp_path / "containers.conf")}
    file = tmp_path / "pod.yaml"
    found = look(f"localhost/{NAME}:v1", Looking(engine="podman"))
    made = workload_of(found, f"localhost/{NAME}:v1", DeployOptions(name=NAME, replicas=1))
    (deployment,) = (d for d in kubernetes_documents(made) if d["kind"] == "Deployment")
    file.write_text(yaml.safe_dump(deployment))
    try:
        done = run([*words, "kube", "play", str(file)], env=env, timeout=60)
        assert done.ok, done.complaint
        told = run([*words, "inspect", f"{NAME}-pod-0-model"], env=env)
        (container,) = json.loads(told.stdout)
        assert container["HostConfig"]["ReadonlyRootfs"] is True
        assert container["EffectiveCaps"] in (None, [])
        infra = run([*words, "pod", "inspect", f"{NAME}-pod-0"], env=env)
        address = _address(words, json.loads(infra.stdout)["InfraContainerID"], env)
        canary = can.canary()
        assert _asked(f"http://{address}:8080/predict", list(canary.records)) == [
            pytest.approx(answer, abs=1e-9) for answer in canary.outputs
        ]
    finally:
        run([*words, "kube", "down", str(file)], env=env, timeout=60)
        engine.remove_image(subject)


def _address(words: tuple[str, ...], name: str, env: dict[str, str]) -> str:
    (document,) = json.loads(run([*words, "inspect", name], env=env).stdout)
    networks = document["NetworkSettings"]["Networks"]
    return next(str(n["IPAddress"]) for n in networks.values())


def _asked(url: str, body: object) -> object:
    """Return the answer, once there is somebody who gives it."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    for _ in range(100):
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nobody answers at {url}")
