"""Logins are found where Docker and Podman keep them."""

from __future__ import annotations

import base64
import json
import os

import pytest

from cannery.errors import UsageError
from cannery.oci.auth import Credentials, find_credentials, find_login
from cannery.oci.references import HUB


def write(path, document) -> None:
    """Write a JSON document, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def encoded(text: str) -> str:
    """Return base64 of a text."""
    return base64.b64encode(text.encode()).decode()


def helper(folder, name: str, script: str) -> dict[str, str]:
    """Write a credential helper and return an environment that finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"HOME": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    "key", ["reg.example.com", "https://reg.example.com", "https://reg.example.com/v2/"]
)
def test_docker_s_file_is_read(tmp_path, key) -> None:
    """A password may hold colons, and the key may be an address."""
    write(tmp_path / ".docker/config.json", {"auths": {key: {"auth": encoded("ann:pa:ss")}}})
    found = find_credentials("reg.example.com", {"HOME": str(tmp_path)})
    assert found == Credentials(username="ann", password="pa:ss")


def test_the_folder_of_docker_s_file_can_move(tmp_path) -> None:
    """DOCKER_CONFIG names the folder."""
    write(tmp_path / "x/config.json", {"auths": {"r:5000": {"auth": encoded("ann:x")}}})
    env = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "x")}
    assert find_credentials("r:5000", env) == Credentials(username="ann", password="x")


def test_podman_s_file_comes_first(tmp_path) -> None:
    """Podman's login wins over Docker's."""
    write(tmp_path / ".docker/config.json", {"auths": {"r.io": {"auth": encoded("docker:x")}}})
    write(tmp_path / "run/containers/auth.json", {"auths": {"r.io": {"auth": encoded("podman:x")}}})
    env = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    found = find_credentials("r.io", env)
    assert found is not None
    assert found.username == "podman"


@pytest.mark.parametrize(
    ("repository", "who"),
    [
        ("team/churn", "churn"),
        ("team/other", "team"),
        ("team", "team"),
        ("teams/churn", "all"),
        ("", "all"),
    ],
)
def test_a_part_of_a_registry_has_a_login_of_its_own(tmp_path, repository, who) -> None:
    """Podman keeps logins for namespaces and repositories too; the narrowest one counts."""
    names = {"r.io": "all", "r.io/team": "team", "r.io/team/churn": "churn"}
    auths = {key: {"auth": encoded(f"{name}:x")} for key, name in names.items()}
    write(tmp_path / "auth.json", {"auths": auths})
    found = find_login("r.io", {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}, repository)
    assert found is not None
    assert found.username == who


def test_another_registry_s_login_is_not_used(tmp_path) -> None:
    """A login holds for the registry that it names and no other."""
    write(tmp_path / ".docker/config.json", {"auths": {"a.io": {"auth": encoded("ann:x")}}})
    assert find_credentials("b.io", {"HOME": str(tmp_path)}) is None
    assert find_credentials("a.io:5000", {"HOME": str(tmp_path)}) is None


def test_a_helper_is_asked(tmp_path) -> None:
    """The program that Docker was told to ask is asked for this registry."""
    env = helper(
        tmp_path,
        "vault",
        'read host; echo "{\\"Username\\": \\"at-$host\\", \\"Secret\\": \\"s\\"}"',
    )
    write(tmp_path / ".docker/config.json", {"credHelpers": {"r.io": "vault"}})
    assert find_credentials("r.io", env) == Credentials(username="at-r.io", password="s")


def test_a_helper_s_token_is_a_token(tmp_path) -> None:
    """The user name <token> marks an identity token."""
    env = helper(tmp_path, "vault", """echo '{"Username": "<token>", "Secret": "t"}'""")
    write(tmp_path / ".docker/config.json", {"credsStore": "vault"})
    assert find_credentials("r.io", env) == Credentials(token="t")


def test_a_helper_that_knows_nothing_is_no_error(tmp_path) -> None:
    """Helpers say "credentials not found" and fail; then there is no login."""
    env = helper(tmp_path, "vault", "echo credentials not found in native keychain; exit 1")
    write(tmp_path / ".docker/config.json", {"credsStore": "vault"})
    assert find_credentials("r.io", env) is None


@pytest.mark.parametrize(
    "document",
    [
        {"auths": {"r.io": {"auth": "%%%"}}},
        {"auths": {"r.io": {"auth": encoded("no-colon")}}},
        {"credsStore": "../../bin/sh"},
        {"credsStore": "not-installed-anywhere"},
        {"credHelpers": {"r.io": 7}},
    ],
)
def test_a_bad_login_is_a_clear_error(tmp_path, document) -> None:
    """What can't be used is named, with the file that holds it."""
    write(tmp_path / ".docker/config.json", document)
    with pytest.raises(UsageError, match=r"config\.json"):
        find_credentials("r.io", {"HOME": str(tmp_path), "PATH": os.environ["PATH"]})


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_broken_file_is_a_clear_error(tmp_path, text) -> None:
    """A file that is no JSON object is named."""
    path = tmp_path / ".docker/config.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UsageError, match="no JSON object"):
        find_credentials("r.io", {"HOME": str(tmp_path)})


def test_a_password_is_not_shown() -> None:
    """Printing credentials shows no secret."""
    text = repr(Credentials(username="ann", password="hush", token="quiet"))
    assert "hush" not in text
    assert "quiet" not in text


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (".docker/config.json", "https://index.docker.io/v1/"),
        (".config/containers/auth.json", "docker.io"),
    ],
)
def test_the_login_of_docker_s_hub_stands_under_other_names(tmp_path, folder, name) -> None:
    """As Docker writes it and as Podman does; another registry has nothing of it."""
    path = tmp_path / folder
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"auths": {name: {"username": "ann", "password": "x"}}}))
    env = {"HOME": str(tmp_path)}
    assert find_login(HUB, env) == Credentials(username="ann", password="x")
    assert find_login("r.io", env) is None
