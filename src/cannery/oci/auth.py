"""Who we are at a registry, as the user already told Docker or Podman."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cannery.blobs import parse_json
from cannery.errors import CanneryError, UsageError
from cannery.oci.references import HUB
from cannery.processes import run

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TIMEOUT = 30.0
"""Seconds that a credential helper may take: it may have to ask a cloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A name and a password, or a token that stands for both."""

    username: str = ""
    password: str = field(default="", repr=False)
    token: str | None = field(default=None, repr=False)
    """An identity token, exchanged for access tokens."""


def find_credentials(
    registry: str, env: Mapping[str, str] | None = None, repository: str = ""
) -> Credentials | None:
    """Return what Podman's `auth.json` or Docker's `config.json` says of a registry, or None.

    A login for `repository`, or for a part of the registry that it is in, comes first.
    Credential helpers are asked. Raises UsageError for a file that can't be read and for a helper
    that is missing or fails.
    """
    env = os.environ if env is None else env
    for path in _files(env):
        document = _read(path)
        if document is None:
            continue
        found = _from_file(_parts(registry, repository), document, path)
        found = found or _from_helper(registry, document, path, env)
        found = found or _from_file(_keys(registry), document, path)
        if found is not None:
            return found
    return None


def find_login(
    registry: str, env: Mapping[str, str] | None = None, repository: str = ""
) -> Credentials | None:
    """Return the login of a registry; that of Docker's hub stands under other names than its address."""
    names = ("https://index.docker.io/v1/", "docker.io") if registry == HUB else (registry,)
    for name in names:
        found = find_credentials(name, env, repository)
        if found is not None:
            return found
    return None


def _files(env: Mapping[str, str]) -> list[Path]:
    """Return the files in the order in which Podman looks at them."""
    if "REGISTRY_AUTH_FILE" in env:
        return [Path(env["REGISTRY_AUTH_FILE"])]
    home = Path(env.get("HOME") or Path.home())
    docker = Path(env["DOCKER_CONFIG"]) if env.get("DOCKER_CONFIG") else home / ".docker"
    files = [home / ".config/containers/auth.json", docker / "config.json"]
    if env.get("XDG_RUNTIME_DIR"):
        files.insert(0, Path(env["XDG_RUNTIME_DIR"]) / "containers/auth.json")
    return files


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return parse_json(path.read_bytes(), dict[str, Any])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"can't read '{path}': {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"'{path}' is no JSON object: {error}", hint="mend it, or log in again"
        ) from error


def _parts(registry: str, repository: str) -> tuple[str, ...]:
    """Return under which names Podman keeps logins for a part of a registry, the narrowest first."""
    names = repository.split("/") if repository else []
    return tuple("/".join((registry, *names[:count])) for count in range(len(names), 0, -1))


def _keys(registry: str) -> tuple[str, ...]:
    secure = f"https://{registry}"
    return (registry, secure, f"{secure}/", f"http://{registry}", f"{secure}/v1/", f"{secure}/v2/")


def _from_file(keys: Iterable[str], document: dict[str, Any], path: Path) -> Credentials | None:
    entries = document.get("auths")
    entries = entries if isinstance(entries, dict) else {}
    for key in keys:
        entry = entries.get(key)
        if not isinstance(entry, dict) or not entry:
            continue
        if entry.get("identitytoken"):
            return Credentials(token=str(entry["identitytoken"]))
        if entry.get("username"):
            return Credentials(
                username=str(entry["username"]), password=str(entry.get("password", ""))
            )
        if entry.get("auth"):
            return _decoded(str(entry["auth"]), f"auths.'{key}' of '{path}'")
    return None


def _decoded(text: str, place: str) -> Credentials:
    try:
        name, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        name, colon, password = "", "", ""
    if not colon:
        raise UsageError(f"can't decode the login in {place}", hint="log in again")
    return Credentials(username=name, password=password.rstrip("\x00"))


def _from_helper(
    registry: str, document: dict[str, Any], path: Path, env: Mapping[str, str]
) -> Credentials | None:
    helpers = document.get("credHelpers")
    helper = helpers.get(registry) if isinstance(helpers, dict) else None
    helper = helper or document.get("credsStore")
    if not helper:
        return None
    if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
        raise UsageError(f"'{helper}' in '{path}' is no name of a credential helper")
    program = f"docker-credential-{helper}"
    try:
        answer = run([program, "get"], stdin=registry.encode(), env=env, timeout=_TIMEOUT)
    except CanneryError as error:
        raise UsageError(
            f"the credential helper of '{registry}' in '{path}' can't be asked: {error.message}",
            hint=f"install {program}, or remove it from that file",
        ) from error
    if not answer.ok:
        if b"not found" in answer.stdout + answer.stderr:
            return None
        raise UsageError(f"'{program}' has no login for '{registry}': {answer.complaint}")
    return _answered(answer.stdout, program)


def _answered(data: bytes, program: str) -> Credentials:
    try:
        answer = parse_json(data, dict[str, str])
        name, secret = answer["Username"], answer["Secret"]
    except (msgspec.MsgspecError, KeyError) as error:
        raise UsageError(f"'{program}' answered with something that is no login") from error
    return (
        Credentials(token=secret)
        if name == "<token>"
        else Credentials(username=name, password=secret)
    )
