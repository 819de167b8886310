"""The service's settings: every environment variable, its default, and what it must look like."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cannery.cans.open import MANIFEST
from cannery.errors import UsageError
from cannery.serving.gates import OPEN, Gate
from cannery.serving.telemetry import Telemetry, telemetry_of

MOUNTS = ("/opt/ml/model", "/mnt/models")
PORTS = ("PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT")
LEVELS = ("critical", "error", "warning", "info", "debug")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a can is served."""

    can: Path = Path("/opt/cannery/can")
    """`CANNERY_CAN`: the can's folder, unless `model_uri` names another."""
    model_uri: str | None = None
    """`MODEL_URI`: where to pull the can from at start."""
    cache: Path = Path("/tmp/cannery")
    """`CANNERY_CACHE`: where pulled cans are kept."""
    host: str = "0.0.0.0"
    """`HOST`: the address to listen on; `::` is IPv6 and IPv4."""
    port: int = 8080
    """`PORT`, else `AIP_HTTP_PORT` (Vertex), else `SAGEMAKER_BIND_TO_PORT`; 0 is any free one."""
    grpc_port: int | None = None
    """`GRPC_PORT`: where remote calls are taken, in images that have gRPC; 0 is any free one."""
    workers: int = 1
    """`WORKERS`: processes; `auto` (0 here) is as many as the processors and the memory of the container take."""
    threads: int = 1
    """`THREADS`: of ONNX Runtime in each process."""
    max_body: int = 16 << 20
    """`MAX_BODY`: bytes of the longest request body."""
    watch: int = 0
    """`WATCH`: seconds between two looks whether `MODEL_URI` names another can; 0 is never."""
    queue: int = 512
    """`QUEUE`: requests that may wait for a slow model; one more is answered 503."""
    deadline: int = 30
    """`TIMEOUT`: seconds for which a request waits for a slow model; then it is answered 504."""
    gate: Gate = field(default_factory=Gate)
    """`TOKEN_FILE`: a file with the bearer token that callers must send; `CORS_ORIGINS`: pages that may ask."""
    tls: tuple[Path, Path] | None = None
    """`TLS_CERT` and `TLS_KEY`: files in PEM."""
    telemetry: Telemetry | None = None
    """`OTEL_EXPORTER_OTLP_ENDPOINT` and its relatives: where spans are sent."""
    access_log: bool = False
    """`ACCESS_LOG`: one line for each request."""
    log_level: str = "info"
    """`LOG_LEVEL`."""
    log_format: Literal["text", "json"] = "text"
    """`LOG_FORMAT`."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Further paths → routes, from `AIP_PREDICT_ROUTE` and `AIP_HEALTH_ROUTE`."""


def settings_of(env: Mapping[str, str]) -> Settings:
    """Read the settings; raises UsageError, naming the variable, for a value that can't be meant."""
    default = Settings()
    level = (env.get("LOG_LEVEL") or default.log_level).lower()
    if level not in LEVELS:
        raise UsageError(f"LOG_LEVEL is '{env['LOG_LEVEL']}', not one of {', '.join(LEVELS)}")
    form = (env.get("LOG_FORMAT") or default.log_format).lower()
    if form not in ("text", "json"):
        raise UsageError(f"LOG_FORMAT is '{env['LOG_FORMAT']}', not text or json")
    port = next((name for name in PORTS if env.get(name)), PORTS[0])
    aliases = _aliases(env)
    automatic = env.get("WORKERS", "").strip().lower() == "auto"
    return Settings(
        can=Path(env.get("CANNERY_CAN") or default.can),
        model_uri=env.get("MODEL_URI") or None,
        cache=Path(env.get("CANNERY_CACHE") or default.cache),
        host=env.get("HOST") or default.host,
        port=_whole(env, port, default.port, 0, 65535),
        grpc_port=_whole(env, "GRPC_PORT", 0, 0, 65535) if env.get("GRPC_PORT") else None,
        workers=0 if automatic else _whole(env, "WORKERS", default.workers, 1, 64),
        threads=_whole(env, "THREADS", default.threads, 1, 256),
        max_body=_whole(env, "MAX_BODY", default.max_body, 1024, 1 << 30),
        watch=_whole(env, "WATCH", default.watch, 0, 86_400),
        queue=_whole(env, "QUEUE", default.queue, 1, 100_000),
        deadline=_whole(env, "TIMEOUT", default.deadline, 1, 3600),
        gate=_gate(env, aliases),
        tls=_tls(env),
        telemetry=telemetry_of(env),
        access_log=_yes(env, "ACCESS_LOG"),
        log_level=level,
        log_format="json" if form == "json" else "text",
        aliases=aliases,
    )


def _whole(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high):
        raise UsageError(f"{name} is '{text[:40]}', not a whole number from {low} to {high}")
    return int(text)


def found_can(named: Path, env: Mapping[str, str]) -> Path:
    """Return the can's folder: the one named, else where a platform mounts models.

    SageMaker unpacks into `/opt/ml/model`, KServe into `/mnt/models`, Azure names `AZUREML_MODEL_DIR`;
    each may hold the can or the one folder that is it.
    """
    if env.get("CANNERY_CAN") or (named / MANIFEST).is_file():
        return named
    for place in (env.get("AZUREML_MODEL_DIR"), *MOUNTS):
        if place:
            found = [Path(place), *sorted(Path(place).glob("*/"))]
            cans = [folder for folder in found if (folder / MANIFEST).is_file()]
            if len(cans) == 1:
                return cans[0]
    return named


def checked_grpc(port: int) -> int:
    """Return the port; raises UsageError where there is no gRPC."""
    if all(importlib.util.find_spec(name) for name in ("grpc", "google")):
        return port
    raise UsageError(
        f"GRPC_PORT is {port}, but gRPC is not here",
        hint='build the image with extras = ["grpc"]; elsewhere: pip install "cannery[grpc]"',
    )


def _yes(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "").strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("", "0", "false", "no", "off"):
        return False
    raise UsageError(f"{name} is '{text[:40]}', not 1 or 0")


def _gate(env: Mapping[str, str], aliases: Mapping[str, str]) -> Gate:
    """Return who may ask; the token is read here, so that a lost file is found before the service listens."""
    token = None
    if place := env.get("TOKEN_FILE"):
        try:
            token = Path(place).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"TOKEN_FILE '{place}' can't be read: {_reason(error)}") from error
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError(
                f"TOKEN_FILE '{place}' holds no token",
                hint="one line of printable characters without spaces",
            )
    origins = frozenset(
        o.strip().rstrip("/") for o in env.get("CORS_ORIGINS", "").split(",") if o.strip()
    )
    for origin in origins:
        if origin != "*" and "://" not in origin:
            raise UsageError(
                f"CORS_ORIGINS has '{origin[:60]}', which is no origin",
                hint="https://pages.example.com, several with commas, or *",
            )
    probes = frozenset(path for path, route in aliases.items() if route in OPEN)
    return Gate(token=token, origins=origins, open=OPEN | probes)


def _tls(env: Mapping[str, str]) -> tuple[Path, Path] | None:
    """Return the files of certificate and key."""
    places = [env.get(name) for name in ("TLS_CERT", "TLS_KEY")]
    if not any(places):
        return None
    if not all(places):
        raise UsageError("TLS_CERT and TLS_KEY must be set together")
    for name, place in zip(("TLS_CERT", "TLS_KEY"), places, strict=True):
        try:
            Path(str(place)).read_bytes()
        except OSError as error:
            raise UsageError(f"{name} '{place}' can't be read: {_reason(error)}") from error
    return Path(str(places[0])), Path(str(places[1]))


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _aliases(env: Mapping[str, str]) -> dict[str, str]:
    routes = {"AIP_PREDICT_ROUTE": "/invocations", "AIP_HEALTH_ROUTE": "/ping"}
    found = {}
    for name, route in routes.items():
        path = env.get(name)
        if not path:
            continue
        if not path.startswith("/"):
            raise UsageError(f"{name} is '{path[:60]}', not a path that begins with '/'")
        found[path] = route
    return found
