"""The service's settings: every environment variable, its default, and what it must look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cannery.errors import UsageError

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
    """`PORT`, else `AIP_HTTP_PORT`; 0 is any free one."""
    workers: int = 1
    """`WORKERS`: processes."""
    threads: int = 1
    """`THREADS`: of ONNX Runtime in each process."""
    max_body: int = 16 << 20
    """`MAX_BODY`: bytes of the longest request body."""
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
    port = "PORT" if env.get("PORT") else "AIP_HTTP_PORT"
    return Settings(
        can=Path(env.get("CANNERY_CAN") or default.can),
        model_uri=env.get("MODEL_URI") or None,
        cache=Path(env.get("CANNERY_CACHE") or default.cache),
        host=env.get("HOST") or default.host,
        port=_whole(env, port, default.port, 0, 65535),
        workers=_whole(env, "WORKERS", default.workers, 1, 64),
        threads=_whole(env, "THREADS", default.threads, 1, 256),
        max_body=_whole(env, "MAX_BODY", default.max_body, 1024, 1 << 30),
        log_level=level,
        log_format="json" if form == "json" else "text",
        aliases=_aliases(env),
    )


def _whole(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high):
        raise UsageError(f"{name} is '{text[:40]}', not a whole number from {low} to {high}")
    return int(text)


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
