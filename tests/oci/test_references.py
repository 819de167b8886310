"""Names of images are read as Docker reads them."""

from __future__ import annotations

import pytest

from cannery.errors import UsageError
from cannery.oci.references import parse

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("churn", None, "churn", "latest", None),
        ("churn-model:v1", None, "churn-model", "v1", None),
        ("team/churn:v1", None, "team/churn", "v1", None),
        ("localhost/churn", "localhost", "churn", "latest", None),
        ("localhost:5000/churn:v1", "localhost:5000", "churn", "v1", None),
        ("[::1]:5000/churn:v1", "[::1]:5000", "churn", "v1", None),
        ("reg.example.com/a/b_c/d:1.0", "reg.example.com", "a/b_c/d", "1.0", None),
        (f"reg.example.com/a@{DIGEST}", "reg.example.com", "a", None, DIGEST),
        (f"reg.example.com/a:v1@{DIGEST}", "reg.example.com", "a", "v1", DIGEST),
    ],
)
def test_a_reference_is_taken_apart(text, registry, repository, tag, digest) -> None:
    """Registry, repository, tag and digest are found where Docker finds them."""
    found = parse(text)
    assert (found.registry, found.repository, found.tag, found.digest) == (
        registry,
        repository,
        tag,
        digest,
    )
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":v1",
        "Churn:v1",
        "churn:",
        "churn:a b",
        "a//b",
        "../x",
        "churn:.x",
        "-a/b",
        "a@sha256:12",
        "a@md5:0",
        "x" + ":" + "y" * 129,
        "http://localhost/churn",
        "bad..host/x y",
    ],
)
def test_what_is_no_reference_is_refused(text) -> None:
    """A name that Docker would refuse is an error that repeats it."""
    with pytest.raises(UsageError):
        parse(text)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("Churn-Model:v1", "churn-model:v1"),
        ("Bad Name:1", "bad-name:1"),
        ("Host.example/Team/Churn Model:v1", "Host.example/team/churn-model:v1"),
    ],
)
def test_a_name_that_is_spelled_wrong_gets_a_hint(given: str, right: str) -> None:
    """The most common mistakes are answered with a spelling that is taken."""
    with pytest.raises(UsageError) as caught:
        parse(given)
    assert caught.value.hint == f"names have lower case and no blanks: {right}"
    assert str(parse(right)) == right


def test_a_local_name_has_the_full_name_that_engines_use() -> None:
    """Containerd and Podman file names without registry below docker.io."""
    assert parse("churn:v1").full == "docker.io/library/churn:v1"
    assert parse("team/churn:v1").full == "docker.io/team/churn:v1"
    assert parse("localhost:5000/churn:v1").full == "localhost:5000/churn:v1"


def test_a_reference_is_pinned_by_digest() -> None:
    """Pinning drops the tag, since the digest decides."""
    assert str(parse("localhost:5000/a:v1").at(DIGEST)) == f"localhost:5000/a@{DIGEST}"
