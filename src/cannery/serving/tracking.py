"""A small client of MLflow's REST API: from a moving name to the can that was published for it.

https://mlflow.org/docs/latest/rest-api.html
"""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cannery.addresses import bare, parts_of
from cannery.cans.vouchers import SUFFIX
from cannery.errors import SourceError
from cannery.serving.web import Refused, Trust, Web

URI_TAG = "cannery.uri"
"""Tag of a model version, run or logged model: where its can lies."""
DIGEST_TAG = "cannery.digest"
"""Tag beside it: SHA-256 of the can's `can.json`."""

ARTIFACTS = "mlflow-artifacts"
"""Scheme of an address behind the tracking server's artifact proxy."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SAFE = "-_.~/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where a can lies, and which."""

    uri: str
    digest: str
    """`sha256:…` of its `can.json`."""
    what: str
    """`models:/churn-classifier/3`: what the name resolved to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """A tracking server, and who we are there."""

    base: str
    headers: Mapping[str, str] = field(repr=False)
    web: Web = field(repr=False)

    def get(self, path: str, **query: str) -> Any:
        """Return the answer to a GET of `/api/2.0/mlflow/<path>`; raises as Web does."""
        return self.web.json(
            f"{self.base}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}", self.headers
        )

    def address(self, uri: str) -> str:
        """Return the web address of a file behind the artifact proxy.

        Raises SourceError for another server's: a tag must not send our credentials there.
        """
        parts = parts_of(uri)
        own = parts_of(self.base)
        if parts.netloc and parts.netloc != own.netloc:
            raise SourceError(f"'{uri}' lies behind another server than '{bare(self.base)}'")
        path = parts.path.lstrip("/")
        if ".." in path.split("/"):
            raise SourceError(f"'{uri}' leaves the store of artifacts")
        return (
            f"{self.base}/api/2.0/mlflow-artifacts/artifacts/{urllib.parse.quote(path, safe=_SAFE)}"
        )

    def signature(self, uri: str) -> bytes | None:
        """Return what lies beside a can behind the artifact proxy; None where there is nothing."""
        try:
            return self.web.document(f"{self.address(uri)}{SUFFIX}", self.headers)
        except Refused as refused:
            if refused.answer.status == 404:
                return None
            raise


def open_tracking(env: Mapping[str, str]) -> Tracking:
    """Return the client that MLflow's environment variables describe; raises SourceError without a server."""
    name = "MLFLOW_REGISTRY_URI" if env.get("MLFLOW_REGISTRY_URI") else "MLFLOW_TRACKING_URI"
    uri = env.get(name) or ""
    parts = parts_of(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        told = f"is '{bare(uri)}', which is no server" if uri else "is not set"
        raise SourceError(
            f"{name} {told}",
            hint="set it to the address of the tracking server: http://…",
        )
    netloc = parts.netloc.rpartition("@")[2]
    base = urllib.parse.urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
    return Tracking(base=base, headers=_login(env, parts), web=Web(trust=_trust(env)))


def _login(env: Mapping[str, str], parts: urllib.parse.SplitResult) -> dict[str, str]:
    name = env.get("MLFLOW_TRACKING_USERNAME") or urllib.parse.unquote(parts.username or "")
    password = env.get("MLFLOW_TRACKING_PASSWORD") or urllib.parse.unquote(parts.password or "")
    if name:
        return {
            "Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
        }
    token = env.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _trust(env: Mapping[str, str]) -> Trust:
    return Trust(
        authority=env.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or authority_of(env),
        identity=env.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None,
        verify=(env.get("MLFLOW_TRACKING_INSECURE_TLS") or "").lower() not in ("1", "true"),
    )


def authority_of(env: Mapping[str, str]) -> str | None:
    """Return the file of certificates that the environment names for everybody."""
    return env.get("SSL_CERT_FILE") or env.get("REQUESTS_CA_BUNDLE") or None


def find(uri: str, tracking: Tracking) -> Published:
    """Return the can that was published for `models:/…` or `runs:/…`.

    Raises SourceError for a name that doesn't exist or that no can was published for,
    UnreachableError when the server doesn't answer.
    """
    try:
        what, tags = _tags(uri, tracking)
    except Refused as refused:
        raise _refusal(uri, refused, tracking) from refused
    if URI_TAG not in tags or not _DIGEST.fullmatch(tags.get(DIGEST_TAG, "")):
        raise SourceError(f"no can was published for '{what}'", hint=f"cannery publish CAN {what}")
    return Published(uri=tags[URI_TAG], digest=tags[DIGEST_TAG], what=what)


def _refusal(uri: str, refused: Refused, tracking: Tracking) -> SourceError:
    place, status = bare(tracking.base), refused.answer.status
    if status in (401, 403):
        return SourceError(
            f"the tracking server '{place}' refuses us (status {status})",
            hint="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    if b'"error_code"' in refused.answer.body:
        return SourceError(f"the tracking server '{place}' knows no '{uri}'")
    return SourceError(
        f"'{place}' answers with status {status}: is it a tracking server?",
        hint="check MLFLOW_TRACKING_URI",
    )


def _tags(uri: str, tracking: Tracking) -> tuple[str, dict[str, str]]:
    """Return what an address resolves to, without anything that moves, and its tags."""
    scheme, _, rest = uri.partition(":")
    rest = rest.strip("/")
    if scheme.lower() == "runs":
        run = rest.partition("/")[0]
        answer = tracking.get("runs/get", run_id=run)
        return f"runs:/{rest}", _pairs(_part(answer, "run", "data").get("tags"))
    if re.fullmatch(r"m-[0-9a-f]{32}", rest):
        answer = tracking.get(f"logged-models/{rest}")
        return f"models:/{rest}", _pairs(_part(answer, "model", "info").get("tags"))
    version = _version(uri, rest, tracking)
    return f"models:/{version.get('name')}/{version.get('version')}", _pairs(version.get("tags"))


def _version(uri: str, rest: str, tracking: Tracking) -> dict[str, Any]:
    name, at, alias = rest.partition("@")
    if at:
        answer = tracking.get("registered-models/alias", name=name, alias=alias)
        return _part(answer, "model_version")
    name, _, which = rest.partition("/")
    if not name or not which or "/" in which:
        raise SourceError(
            f"'{uri}' names no version of a model",
            hint="write models:/name@alias, models:/name/3 or models:/name/Production",
        )
    number = which if which.isdecimal() else _newest(name, which, tracking)
    return _part(tracking.get("model-versions/get", name=name, version=number), "model_version")


def _newest(name: str, stage: str, tracking: Tracking) -> str:
    """Return the highest version in a stage, or of all for `latest`."""
    if "'" in name:
        raise SourceError(f'the name "{name}" can\'t be asked for')
    found: list[int] = []
    token = ""
    for _ in range(100):
        page = {"page_token": token} if token else {}
        answer = tracking.get(
            "model-versions/search", filter=f"name='{name}'", max_results="200", **page
        )
        for version in answer.get("model_versions") or []:
            if stage.lower() in ("latest", str(version.get("current_stage", "None")).lower()):
                found.append(int(version["version"]))
        token = answer.get("next_page_token") or ""
        if not token:
            break
    if not found:
        raise SourceError(f"the model '{name}' has no version in stage '{stage}'")
    return str(max(found))


def _part(answer: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        answer = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(answer, dict):
        raise SourceError(f"the tracking server's answer has no '{'.'.join(keys)}'")
    return answer


def _pairs(tags: Any) -> dict[str, str]:
    return {
        str(t["key"]): str(t.get("value", ""))
        for t in tags or []
        if isinstance(t, dict) and "key" in t
    }
