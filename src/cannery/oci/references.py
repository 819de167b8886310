"""Names of images: `registry.example:5000/team/churn-model:v1@sha256:…`, read as Docker reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from cannery.errors import UsageError

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_REGISTRY = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

HUB = "registry-1.docker.io"
"""Where Docker's own hub, `docker.io`, answers."""
LOCAL = "docker.io/library"
"""What container tools put before a name without registry in their own records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where an image stands, or how it is called on this machine."""

    registry: str | None
    """Host and port; None for a name that stays on this machine."""
    repository: str
    tag: str | None
    digest: str | None = None
    """`sha256:<64 hex>`; where given it decides, and the tag is for people."""

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    @property
    def full(self) -> str:
        """The name under which containerd and Podman file it: a local name stands below `docker.io/library`."""
        prefix = "" if self.registry else "docker.io/" if "/" in self.repository else f"{LOCAL}/"
        return prefix + str(self)

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag or "latest"

    def at(self, digest: str) -> Reference:
        """Return the same name pinned to `digest`, without its tag."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse(text: str) -> Reference:
    """Read a reference; raises UsageError.

    The first component is a registry when it holds a dot or a colon or is `localhost`, as Docker
    decides; a name without registry stays on this machine. Without tag and digest the tag is `latest`.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise UsageError(
            f"'{digest}' in '{text}' is no digest", hint="a digest is sha256: and 64 hex digits"
        )
    first, slash, remainder = rest.partition("/")
    registry = None
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, rest = first, remainder
        if not _REGISTRY.fullmatch(registry):
            raise UsageError(f"'{registry}' in '{text}' is no registry's address")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    repository = f"{head}{slash}{last}"
    if colon and not _TAG.fullmatch(tag):
        raise UsageError(
            f"'{tag}' in '{text}' is no tag",
            hint="a tag has at most 128 letters, digits, '_', '.' and '-', and begins with neither '.' nor '-'",
        )
    if not _REPOSITORY.fullmatch(repository):
        near = re.sub(r"[^a-z0-9._/-]+", "-", repository.lower()).strip("-._/")
        if _REPOSITORY.fullmatch(near):
            near = f"{registry}/{near}" if registry else near
            hint = f"names have lower case and no blanks: {near}{colon}{tag}{at}{digest}"
        else:
            hint = "write NAME:TAG"
        raise UsageError(f"'{text}' is no name of an image", hint=hint)
    return Reference(
        registry=registry,
        repository=repository,
        tag=(tag if colon else None) if colon or digest else "latest",
        digest=digest or None,
    )


def remote(reference: Reference) -> Reference:
    """Return where a reference is pulled from: a name without registry stands at Docker's hub."""
    if reference.registry not in (None, "docker.io", "index.docker.io"):
        return reference
    repository = reference.repository
    return replace(
        reference,
        registry=HUB,
        repository=repository if "/" in repository else f"library/{repository}",
    )
