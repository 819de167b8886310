"""What is tried on a container: each trial returns what it saw, or raises ProofError with what is wrong."""

from __future__ import annotations

from typing import Any

from cannery.engines.asking import Answer, ask
from cannery.engines.engine import Container
from cannery.errors import ProofError
from cannery.oci.documents import Settings
from cannery.proofs import questions
from cannery.proofs.questions import Golden
from cannery.signatures import Feature

SHELLS = ("/bin/sh", "/bin/bash")
PATIENCE = 10.0
"""Seconds between SIGTERM and the end, as most platforms grant them."""


def user(settings: Settings) -> str:
    """The image names a user by number, and not root: platforms can check that without starting it."""
    uid = settings.user.partition(":")[0]
    if not uid.isdigit() or int(uid) == 0:
        raise ProofError(f"the image's user is '{settings.user}', not a number other than 0")
    return f"user {settings.user}"


def canary(container: Container, golden: Golden) -> str:
    """The golden records are answered as the original answered them, one by one and all at once."""
    questions.records(container, golden)
    return f"{len(golden.canary.records)} golden records as recorded"


def wrong_records(container: Container, golden: Golden) -> str:
    """A record that lacks a field, has one too many, or one of another type is refused by name."""
    tried = []
    features = golden.manifest.signature.features
    for what, field, record in _wrong(dict(golden.canary.records[0]), features):
        answer = questions.post(container, "/predict", record)
        if answer.status != 422:
            raise ProofError(f"a record with {what} '{field}' is answered {answer.status}, not 422")
        if field not in _paths(answer.json()):
            raise ProofError(f"a record with {what} '{field}' is refused without naming the field")
        tried.append(what)
    return f"422 for {', '.join(tried)}"


def version(container: Container, digest: str) -> str:
    """The service says which can it serves."""
    document = _get(container, "/version").json()
    found = document.get("digest") if isinstance(document, dict) else None
    if found != digest:
        raise ProofError(f"/version says the can is {found}, not {digest}")
    return f"can {digest[:19]}"


def health_program(container: Container) -> str:
    """The image's own health check passes when it is run inside."""
    passed = container.healthcheck()
    if passed is None:
        raise ProofError("the image has no health check in exec form")
    if not passed:
        raise ProofError("the image's health check fails although the service is healthy")
    return "exits 0"


def shell(container: Container) -> str:
    """There is no shell to fall into."""
    for name in SHELLS:
        if container.exec(name, "-c", "true").ok:
            raise ProofError(f"the image has a shell, '{name}'")
    return "none"


def drain(container: Container) -> str:
    """SIGTERM ends it with status 0, soon."""
    stopped = container.stop(PATIENCE)
    if stopped.status != 0:
        raise ProofError(f"after SIGTERM it ended with status {stopped.status}, not 0")
    if stopped.seconds > PATIENCE:
        raise ProofError(f"after SIGTERM it took {stopped.seconds:.1f} s to end")
    return f"exit 0 after {stopped.seconds:.2f} s"


def smoke(container: Container) -> str:
    """The command `smoke` scores a record without network and ends with status 0."""
    status = container.wait()
    words = container.logs().strip().splitlines()[-1:] or ["nothing"]
    if status != 0:
        raise ProofError(f"'smoke' ended with status {status}: {words[0][:300]}")
    return words[0][:120]


def _wrong(record: dict[str, Any], features: tuple[Feature, ...]) -> list[tuple[str, str, Any]]:
    """Return what is wrong, the field's name, and the record, for three wrong records."""
    unknown = "field_that_no_model_has"
    records: list[tuple[str, str, Any]] = [("the unknown field", unknown, {**record, unknown: 1})]
    for feature in features[:1]:
        value: Any = 12 if feature.type == "string" else "twelve"
        records.append(("another type in", feature.name, {**record, feature.name: value}))
    for feature in [f for f in features if not f.nullable][:1]:
        less = {name: value for name, value in record.items() if name != feature.name}
        records.append(("no field", feature.name, less))
    return records


def _paths(document: Any) -> str:
    """Return the paths of all issues in an error, joined."""
    error = document.get("error") if isinstance(document, dict) else None
    issues = error.get("issues") if isinstance(error, dict) else None
    return "\n".join(str(i.get("path")) for i in issues or [] if isinstance(i, dict))


def _get(container: Container, path: str) -> Answer:
    try:
        answer = ask(container.url, path)
    except OSError as error:
        raise ProofError(f"{path} does not answer: {error}") from error
    if answer.status != 200:
        raise ProofError(f"{path} answers {answer.status}")
    return answer
