"""MLflow's stores and registries: the one module (with `publish`) that imports MLflow, and only when asked."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import tempfile
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cannery.addresses import parts_of
from cannery.errors import SourceError, UnreachableError
from cannery.sources.source import Origin

CONNECT_SECONDS = 5.0
"""How long a tracking server may take to accept a connection."""

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # the user named it: reading it is what they want
}
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Set unless the user did: MLflow's own defaults retry for minutes."""

_STAGES = ("none", "staging", "production", "archived")
_LISTED = 10
_ABSENT = "Failed to download artifacts from path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A parsed `models:/` or `runs:/` address; exactly one of its kinds is meant."""

    given: str
    name: str | None = None
    alias: str | None = None
    version: str | None = None
    stage: str | None = None
    latest: bool = False
    model_id: str | None = None
    run_id: str | None = None
    path: str | None = None


def parse_address(uri: str) -> Address:
    """Parse a `models:/` or `runs:/` address; raises SourceError for one that can't be meant.

    `models:/name` alone is parsed with no kind: resolving it explains what could be asked for.
    """
    scheme, _, rest = uri.partition(":")
    rest = rest.lstrip("/").rstrip("/")
    if scheme.lower() == "runs":
        run, _, path = rest.partition("/")
        if not run or not path or ".." in path.split("/"):
            raise SourceError(
                f"'{uri}' is no address of a model", hint="write runs:/<run id>/<path>"
            )
        return Address(given=uri, run_id=run, path=path)
    if re.fullmatch(r"m-[0-9a-f]{32}", rest):
        return Address(given=uri, model_id=rest)
    if match := re.fullmatch(r"([^/@]+)@([^/@]+)", rest):
        return Address(given=uri, name=match[1], alias=match[2])
    name, _, which = rest.partition("/")
    if not name or "/" in which or "@" in rest:
        raise SourceError(
            f"'{uri}' is no address of a model",
            hint="write models:/name@alias, models:/name/3 or models:/name/Production",
        )
    if which.isdecimal():
        return Address(given=uri, name=name, version=which)
    return Address(
        given=uri, name=name, latest=which.lower() == "latest", stage=which if which else None
    )


def download(uri: str, *, staging: Path, tracking_uri: str | None = None) -> tuple[Path, Origin]:
    """Resolve an address and copy what it names below `staging`; return where, and its origin.

    Raises SourceError for what doesn't exist (saying what does), UnreachableError for a server that
    doesn't answer.
    """
    address = parse_address(uri)
    with session(tracking_uri) as client:
        origin = resolve(address, client)
        staging.mkdir(parents=True, exist_ok=True)
        target = Path(tempfile.mkdtemp(prefix="model-", dir=staging))
        # the version, not the alias: it may move between the two steps
        try:
            path = Path(_download(origin.resolved, target))
        except _foreign_errors() as error:
            if address.run_id and str(error).startswith(_ABSENT):
                raise _lacking(address, client) from error
            raise
    if not path.resolve().is_relative_to(staging.resolve()):
        raise SourceError(f"MLflow left '{uri}' in place at '{path}' instead of copying it")
    return path, origin


def _lacking(address: Address, client: Any) -> SourceError:
    """Return what to say of a path that a run does not hold: which it does."""
    run = client.get_run(address.run_id)
    outputs = getattr(getattr(run, "outputs", None), "model_outputs", ())
    names = {client.get_logged_model(output.model_id).name for output in outputs}
    names |= {file.path for file in client.list_artifacts(address.run_id)}
    offers = ", ".join(f"runs:/{address.run_id}/{name}" for name in sorted(names)[:_LISTED])
    return SourceError(
        f"the run '{address.run_id}' has no model '{address.path}'",
        hint=f"there are: {offers}" if offers else "nothing was logged in it",
    )


def _download(uri: str, target: Path) -> str:
    from mlflow.artifacts import download_artifacts

    return str(download_artifacts(artifact_uri=uri, dst_path=str(target)))


@contextmanager
def session(tracking_uri: str | None = None) -> Iterator[Any]:
    """Yield an MLflow client, quiet and impatient; its exceptions leave as ours.

    Raises SourceError when MLflow is not installed or the store doesn't exist, UnreachableError when
    the server does not answer.
    """
    with _environment(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if known := tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"):
            _check_store(known)  # before MLflow is imported: that takes seconds
        mlflow = _import()
        before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
        uri = tracking_uri or mlflow.get_tracking_uri()
        if not known:
            _check_store(uri)
        mlflow.set_tracking_uri(uri)  # downloads of `models:/` ask the global one alone
        try:
            yield mlflow.MlflowClient()
        except _foreign_errors() as error:
            raise _ours(error, uri) from error
        finally:
            mlflow.set_tracking_uri(before)


@contextmanager
def _environment() -> Iterator[None]:
    wanted = _QUIET | {k: v for k, v in _IMPATIENT.items() if k not in os.environ}
    before = {name: os.environ.get(name) for name in (*wanted, "MLFLOW_TRACKING_URI")}
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    os.environ.update(wanted)
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _import() -> Any:
    try:
        import mlflow
        import mlflow.exceptions
    except ImportError as error:
        raise SourceError(
            "MLflow is needed for this address and is not installed",
            hint="pip install 'cannery[mlflow]'",
        ) from error
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # importing it configured its logger
    return mlflow


def _check_store(uri: str) -> None:
    """Raise where a store doesn't exist (MLflow would make it) or a server doesn't accept a connection."""
    parts = parts_of(uri)
    hint = "set MLFLOW_TRACKING_URI, or give --tracking-uri"
    if parts.scheme == "sqlite":
        path = Path(uri.partition("sqlite:///")[2].partition("?")[0])
        if not path.is_file():
            raise SourceError(f"there is no MLflow store at '{path}'", hint=hint)
    elif parts.scheme in ("", "file"):
        path = Path(urllib.request.url2pathname(parts.path)) if parts.scheme else Path(uri)
        if not path.is_dir():
            raise SourceError(f"there is no MLflow store at '{path}'", hint=hint)
    elif parts.scheme in ("http", "https"):
        _check_server(uri, parts)


def _check_server(uri: str, parts: urllib.parse.SplitResult) -> None:
    host = parts.hostname or ""
    proxied = parts.scheme in urllib.request.getproxies()
    if proxied and not urllib.request.proxy_bypass(host):
        return  # only the proxy can tell
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreachableError(
            f"the tracking server '{_bare(uri)}' does not answer: {reason}",
            hint="is the address right, and the server running? (MLFLOW_TRACKING_URI, --tracking-uri)",
        ) from error


def _bare(uri: str) -> str:
    """Return an address without name and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


def _foreign_errors() -> tuple[type[Exception], ...]:
    """Return the classes that MLflow and what it stands on raise."""
    from mlflow.exceptions import MlflowException

    classes: list[type[Exception]] = [MlflowException, OSError]  # requests' errors are OSErrors
    try:
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:  # mlflow-skinny does without
        return tuple(classes)
    return (*classes, SQLAlchemyError)


def _ours(error: Exception, uri: str) -> SourceError:
    first = _bare(str(error).partition("\n")[0][:300])
    place, hint = _bare(uri), None
    unanswered = "failed with exception" in first or re.search(
        r"failed with error code 5\d\d", first
    )
    if unanswered or type(error).__module__.startswith("requests"):
        return UnreachableError(f"the tracking server '{place}' does not answer: {first}")
    if _code(error) in ("PERMISSION_DENIED", "UNAUTHENTICATED") or "error code 401" in first:
        hint = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    return SourceError(f"MLflow at '{place}' can't give it: {first}", hint=hint)


def _code(error: Exception) -> str:
    return str(getattr(error, "error_code", ""))


def ask(question: Callable[..., Any], *words: Any) -> Any:
    """Return MLflow's answer, or None where it says that there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return question(*words)
    except MlflowException as error:
        if _code(error) in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def resolve(address: Address, client: Any) -> Origin:
    """Return the origin of an address: nothing in it moves any more.

    Raises SourceError for what doesn't exist, with what does as the hint.
    """
    if address.run_id:
        return Origin(
            given=address.given,
            resolved=f"runs:/{address.run_id}/{address.path}",
            name=(address.path or "").rpartition("/")[2],
            run_id=address.run_id,
            metrics=_metrics(client, address.run_id, required=True),
        )
    if address.model_id:
        return _logged(address, client)
    return _registered(address, client)


def _logged(address: Address, client: Any) -> Origin:
    model = ask(client.get_logged_model, address.model_id)
    if model is None:
        raise SourceError(f"there is no logged model '{address.model_id}'")
    return Origin(
        given=address.given,
        resolved=f"models:/{address.model_id}",
        name=model.name,
        run_id=model.source_run_id,
        model_id=address.model_id,
        metrics=_metrics(client, model.source_run_id),
    )


def find_version(address: Address, client: Any) -> tuple[Any, Any]:
    """Return the registered model and the version of it that an address means; raises SourceError."""
    model = ask(client.get_registered_model, address.name)
    if model is None:
        names = sorted(m.name for m in client.search_registered_models(max_results=_LISTED))
        hint = f"there are: {', '.join(names)}" if names else "no model is registered there"
        raise SourceError(f"there is no registered model '{address.name}'", hint=hint)
    versions = sorted(
        client.search_model_versions(f"name='{address.name}'"), key=lambda v: int(v.version)
    )
    found = _pick(address, model, versions)
    if found is None:
        raise SourceError(_lacks(address), hint=_offers(address, model, versions))
    return model, found


def _pick(address: Address, model: Any, versions: list[Any]) -> Any:
    if address.alias is not None:
        number = str((model.aliases or {}).get(address.alias))
        chosen = [v for v in versions if str(v.version) == number]
    elif address.version is not None:
        chosen = [v for v in versions if int(v.version) == int(address.version)]
    elif address.latest:
        chosen = versions
    elif address.stage is not None:
        stage = address.stage.lower()
        chosen = [v for v in versions if (v.current_stage or "None").lower() == stage]
    else:
        chosen = []
    return chosen[-1] if chosen else None


def _lacks(address: Address) -> str:
    if address.alias is not None:
        return f"the model '{address.name}' has no alias '{address.alias}'"
    if address.version is not None:
        return f"the model '{address.name}' has no version {address.version}"
    if address.stage is None and not address.latest:
        return f"'{address.given}' names a model, but no version of it"
    if address.stage and address.stage.lower() not in (*_STAGES, "latest"):
        return f"'{address.stage}' is neither a version nor a stage of '{address.name}'"
    return f"the model '{address.name}' has no version in stage '{address.stage}'"


def _offers(address: Address, model: Any, versions: list[Any]) -> str:
    name = address.name
    offers = [f"models:/{name}@{alias}" for alias in sorted(model.aliases or {})]
    stages = {v.current_stage for v in versions} - {"None", None, ""}
    offers += [f"models:/{name}/{stage}" for stage in sorted(stages)]
    offers += [f"models:/{name}/{v.version}" for v in reversed(versions)]
    more = ", …" if len(offers) > _LISTED else ""
    return "there are: " + (", ".join(offers[:_LISTED]) or "no versions") + more


def _registered(address: Address, client: Any) -> Origin:
    model, version = find_version(address, client)
    source = str(version.source or "")
    stage = version.current_stage
    return Origin(
        given=address.given,
        resolved=f"models:/{address.name}/{version.version}",
        name=address.name,
        version=str(version.version),
        stage=None if stage in (None, "", "None") else stage,
        aliases=tuple(
            sorted(a for a, v in (model.aliases or {}).items() if str(v) == str(version.version))
        ),
        run_id=version.run_id or None,
        model_id=source.removeprefix("models:/") if source.startswith("models:/m-") else None,
        metrics=_metrics(client, version.run_id),
    )


def _metrics(client: Any, run_id: str | None, *, required: bool = False) -> dict[str, float]:
    """Return the run's finite metrics; a deleted run has none, unless it is `required`."""
    if not run_id:
        return {}
    run = ask(client.get_run, run_id)
    if run is None:
        if required:
            raise SourceError(f"there is no run '{run_id}'")
        return {}
    metrics = run.data.metrics
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
