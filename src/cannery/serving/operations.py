"""What is asked of the model, whatever the protocol: read a request, score its batch, write the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cannery.errors import MalformedError, SchemaError
from cannery.serving.choices import ALL, Answer, Choice
from cannery.serving.messages import FORM, Headers, Request, Response, error_response
from cannery.serving.parquets import PARQUET
from cannery.signatures import Batch

_REMEDIES = {
    FORM: " (curl does with --json)",
    **dict.fromkeys(
        PARQUET, ' (an image built with extras = ["parquet"] takes Parquet on /invocations)'
    ),
}
CHARSETS = ("", "utf-8", "utf8", "us-ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Rows to be scored, and how their answer is written."""

    batch: Batch
    choice: Choice = ALL
    write: Callable[[Answer], Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One way to ask: the reader of its protocol, and the form of its refusals."""

    read: Callable[[Request], Question]
    """Raises MalformedError or SchemaError."""
    glance: Callable[[Request], Question | None] | None = None
    """Reads fast what is plain; None for what only `read` can judge."""
    takes: tuple[str, ...]
    """Content types; none named means the first."""
    unfit: int = 400
    """Status for records that don't fit; what can't even be read is always 400."""
    plain: bool = False
    """Whether errors are texts, as KServe's protocols have them."""

    def refuse_type(self, request: Request) -> Response | None:
        """Return the 415 for a body of another type; a type that is not named is the first."""
        named = request.content_type
        if named and named not in self.takes and not named.endswith("+json"):
            remedy = _REMEDIES.get(named, "")
            wanted = " or ".join(self.takes)
            what = f"content type '{named[:60]}' is not taken; send {wanted}{remedy}"
        elif request.charset not in CHARSETS:
            what = f"charset '{request.charset[:60]}' is not taken; send utf-8"
        elif request.encoding not in ("", "identity", "gzip"):
            what = f"content encoding '{request.encoding[:60]}' is not taken; send gzip or none"
        else:
            return None
        return self.fail(415, f"the {what}")

    def refuse(self, error: SchemaError) -> Response:
        """Return the refusal of a request that can't be meant."""
        status = 400 if isinstance(error, MalformedError) else self.unfit
        return self.fail(status, error.message, issues=error.issues)

    def fail(self, status: int, message: str, *, headers: Headers = (), **more: Any) -> Response:
        """Return an error in this protocol's form."""
        return error_response(status, message, headers=headers, plain=self.plain, **more)
