"""The visit to a running image: ask it, ask it wrongly, and see it leave."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.markup import escape

from cannery.demo.tour import Tour
from cannery.engines.choose import detect
from cannery.engines.engine import Container, Engine
from cannery.errors import CanneryError, ProofError
from cannery.oci.layout import read_layout

CUSTOMER = {
    "tenure": 2,
    "monthly_charges": 89.1,
    "total_charges": 178.2,
    "contract": "Month-to-month",
    "payment_method": "Electronic check",
    "num_services": 3,
}
"""The record of the tour: two months, month to month, electronic check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What a visit showed."""

    engine: str
    healthy: float
    """Seconds from start to the first healthy answer."""
    answer: dict[str, Any]
    refusal: dict[str, Any]
    model: str
    """`name version` as the image says it."""
    status: int
    drained: float
    """Seconds from SIGTERM to the end."""


def visit(tour: Tour, built: dict[str, Any]) -> Visit:
    """Start the image, ask it, stop it; raises CanneryError when it behaves otherwise than promised."""
    engine = detect(tour.engine)
    subject = _subject(engine, tour.work, built)
    with engine.start(subject) as container:
        healthy = container.wait_healthy()
        tour.say(f"healthy [bold]{healthy:.2f} s[/] after it was started in {engine.name}")
        answer, refusal, model = _ask(tour, container)
        stopped = container.stop()
        if stopped.status != 0:
            raise ProofError(f"the image ended with status {stopped.status}, not 0")
        tour.say(f"SIGTERM: drained and gone after {stopped.seconds:.2f} s, exit status 0")
    return Visit(
        engine=engine.name,
        healthy=healthy,
        answer=answer,
        refusal=refusal,
        model=model,
        status=stopped.status,
        drained=stopped.seconds,
    )


def _subject(engine: Engine, work: Path, built: dict[str, Any]) -> str:
    """Return what to start: the name that the engine knows, or the layout on disk."""
    reference: str = built["reference"]
    if engine.name in ("docker", "podman"):
        return reference
    name, _, tag = reference.rpartition(":")
    return engine.load(read_layout(work / f"{name}-{tag}.oci"))


def _ask(tour: Tour, container: Container) -> tuple[dict[str, Any], dict[str, Any], str]:
    with httpx.Client(base_url=container.url, timeout=10.0) as client:
        tour.command(f"curl localhost:8080/predict --json '{json.dumps(CUSTOMER)}'")
        began = time.perf_counter()
        answer = client.post("/predict", json=CUSTOMER)
        spent = (time.perf_counter() - began) * 1000
        tour.say(
            f"{answer.status_code}  [bold green]{answer.text.strip()}[/]  [dim]{spent:.1f} ms[/]"
        )
        wrong = {**CUSTOMER, "tenure": "two", "contarct": CUSTOMER["contract"]}
        del wrong["contract"]
        tour.command(f"curl localhost:8080/predict --json '{json.dumps(wrong)}'")
        refusal = client.post("/predict", json=wrong)
        tour.say(f"{refusal.status_code}")
        for issue in refusal.json()["error"]["issues"]:
            told = f"{issue['path']}: expected {issue['expected']}, got {issue['got']}"
            tour.say(f"  [yellow]{escape(told)}[/]")
        version: dict[str, Any] = client.get("/version").json()
        tour.command("curl localhost:8080/version")
        source = version["source"]
        tour.say(f"{version['name']} {version['version']}, can {version['digest'][:19]}")
        tour.say(f"  {source['given']} → {source['resolved']}, run {source['run_id'][:12]}")
    if answer.status_code != 200 or refusal.status_code != 422:
        raise CanneryError(
            f"expected 200 and 422, got {answer.status_code} and {refusal.status_code}"
        )
    return answer.json(), refusal.json(), f"{version.get('name')} {version.get('version')}"
