"""Whether and where spans are sent, by OpenTelemetry's own variables.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from cannery.addresses import bare, parts_of
from cannery.errors import SourceError, UsageError

SAMPLERS = ("always_on", "always_off", "traceidratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """Where spans are sent, and which."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Of the resource: what the spans say of this process."""
    ratio: float = 1.0
    """Part of the traces that is sent, where the caller has not decided."""
    obeys: bool = True
    """Whether a caller's decision holds."""


def telemetry_of(env: Mapping[str, str]) -> Telemetry | None:
    """Return what the environment says; None where nothing is to be sent.

    Raises UsageError, naming the variable, for a value that can't be meant.
    """
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if env.get("OTEL_TRACES_EXPORTER", "").strip().lower() not in ("", "otlp"):
        return None
    url = env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    name = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    if not url and (base := env.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")):
        name, url = "OTEL_EXPORTER_OTLP_ENDPOINT", base.rstrip("/") + "/v1/traces"
    if not url:
        return None
    try:
        parts = parts_of(url)
    except SourceError as error:
        raise UsageError(f"in {name}: {error.message}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{name} is '{bare(url)[:60]}', not an address: http://…")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := env.get(name, "").strip().lower():
            if not protocol.startswith("http/"):
                raise UsageError(
                    f"{name} is '{protocol[:60]}', but spans are sent by HTTP",
                    hint="name the collector's HTTP port (4318), and set http/protobuf",
                )
            break
    headers = _pairs(env, "OTEL_EXPORTER_OTLP_HEADERS")
    headers |= _pairs(env, "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    attributes = _pairs(env, "OTEL_RESOURCE_ATTRIBUTES")
    if service := env.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = service
    ratio, obeys = _sampler(env)
    return Telemetry(url=url, headers=headers, attributes=attributes, ratio=ratio, obeys=obeys)


def _sampler(env: Mapping[str, str]) -> tuple[float, bool]:
    named = env.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
    sampler = named.removeprefix("parentbased_")
    if sampler not in SAMPLERS:
        known = ", ".join([*SAMPLERS, *(f"parentbased_{s}" for s in SAMPLERS)])
        raise UsageError(f"OTEL_TRACES_SAMPLER is '{named[:60]}', not one of {known}")
    ratio = {"always_on": 1.0, "always_off": 0.0}.get(sampler)
    if ratio is None:
        text = env.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1"
        try:
            ratio = float(text)
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            raise UsageError(f"OTEL_TRACES_SAMPLER_ARG is '{text[:40]}', not a number from 0 to 1")
    return ratio, named != sampler


def _pairs(env: Mapping[str, str], name: str) -> dict[str, str]:
    """Return `key=value` pairs between commas, percent-decoded."""
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, env.get(name, "").split(","))):
        key, separator, value = pair.partition("=")
        if not separator or not key.strip():
            # The value may be a secret: only its place is told.
            raise UsageError(f"{name} has a part without '=' after {len(found)} pairs")
        found[key.strip()] = urllib.parse.unquote(value.strip())
    return found
