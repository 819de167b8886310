"""Answer a registry's challenge: basic, or a bearer token fetched where the challenge says.

https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from threading import Lock

import httpx
import msgspec

from cannery.blobs import parse_json
from cannery.errors import RegistryError
from cannery.oci.answers import BUSY, TransientError, read_body, retry_after
from cannery.oci.auth import Credentials

_PARAMETER = re.compile(r'([A-Za-z_]+)="((?:[^"\\]|\\.)*)"')


def is_loopback(host: str) -> bool:
    """Tell whether a host (without port) is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(slots=True, kw_only=True)
class Authorizer:
    """The headers with which we name ourselves at one registry, by scope; nothing is sent before it is asked for."""

    registry: str
    credentials: Credentials | None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    lock: Lock = field(default_factory=Lock, repr=False)

    def header(self, scope: str) -> dict[str, str]:
        """Return the header that is known to work for a scope, if any."""
        value = self.headers.get(scope)
        return {"Authorization": value} if value else {}

    def answer(
        self, client: httpx.Client, challenge: str, scope: str, tried: dict[str, str]
    ) -> bool:
        """Answer `WWW-Authenticate`; tell whether there is another header to try than the one that failed.

        Raises RegistryError when the token service refuses, TransientError when it is busy; transport errors
        pass through.
        """
        with self.lock:
            if self.header(scope) != tried:
                return True  # another thread has answered meanwhile
            kind, _, rest = challenge.partition(" ")
            if kind.lower() == "basic" and self.credentials and self.credentials.token is None:
                self.headers[scope] = _basic(self.credentials)
            elif kind.lower() == "bearer":
                parameters = dict(_PARAMETER.findall(rest))
                self.headers[scope] = "Bearer " + self._token(client, parameters, scope)
            return self.header(scope) != tried

    def _token(self, client: httpx.Client, parameters: dict[str, str], scope: str) -> str:
        realm = httpx.URL(parameters.get("realm", ""))
        if not realm.host:
            raise RegistryError(f"registry '{self.registry}' asks for a token that nobody gives")
        plain = is_loopback(realm.host) and is_loopback(httpx.URL(f"//{self.registry}").host)
        if realm.scheme != "https" and not plain:
            raise RegistryError(
                f"registry '{self.registry}' sends logins to '{realm}', which is not encrypted"
            )
        query = {"scope": parameters.get("scope") or scope}
        if "service" in parameters:
            query["service"] = parameters["service"]
        if self.credentials and self.credentials.token is not None:
            form = {"grant_type": "refresh_token", "refresh_token": self.credentials.token}
            form |= {**query, "client_id": "cannery"}
            request = client.build_request("POST", realm, data=form)
        else:
            login = {"Authorization": _basic(self.credentials)} if self.credentials else {}
            scopes = {"scope": query["scope"].split()}  # one by one, where there are several
            address = realm.copy_merge_params({**query, **scopes})
            request = client.build_request("GET", address, headers=login)
        response = client.send(request, stream=True)
        body = read_body(response)
        if response.status_code in (401, 403):
            raise RegistryError(
                f"'{realm.host}' refused the login for registry '{self.registry}'",
                hint=login_hint(self.registry, self.credentials),
            )
        return self._read(response, body)

    def _read(self, response: httpx.Response, body: bytes) -> str:
        place = f"the token service of '{self.registry}'"
        if response.status_code != 200:
            error = RegistryError(f"{place} answered {response.status_code}")
            if response.status_code in BUSY:
                raise TransientError(error, retry_after(response.headers))
            raise error
        try:
            document = parse_json(body, dict[str, object])
        except msgspec.MsgspecError as error:
            raise RegistryError(f"{place} answered with no JSON object") from error
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not (token.isascii() and token.isprintable()):
            raise RegistryError(f"{place} answered without a token")
        return token


def login_hint(registry: str, credentials: Credentials | None) -> str:
    """Say what to do about a refused login."""
    if credentials is None:
        return f"log in first: docker login {registry} (or podman login {registry})"
    who = f"'{credentials.username}'" if credentials.username else "the stored token"
    return f"the registry does not accept {who} for this; log in again: docker login {registry}"


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return "Basic " + base64.b64encode(pair).decode()
