"""The host's side of an opened model: it asks, and opens nothing itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from cannery.audits.audit import audit_bytes
from cannery.audits.contents import content
from cannery.audits.policy import Cleared, Policy, objections
from cannery.cans.manifest import Feed, Runtime
from cannery.conversions.nouns import Artifact, Description, Obstacle
from cannery.errors import CanneryError, ConversionError, IsolationError, UnsafeError
from cannery.isolation import messages as m
from cannery.isolation.channel import Channel, printable
from cannery.isolation.environments import Environment
from cannery.isolation.handing import handed
from cannery.isolation.requirements import package_of
from cannery.isolation.sandbox import LEVELS, Level, Limits, Name, command, probe, strongest
from cannery.processes import PIPE, started
from cannery.signatures import Batch, Feature, Raw

log = logging.getLogger(__name__)

_Reply = TypeVar("_Reply", bound=m.Reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationOptions:
    """How a worker is held."""

    timeout: float = 300.0
    """Seconds for each request."""
    reply_limit: int = 1 << 30
    """Bytes of each reply."""
    limits: Limits = field(default_factory=Limits)
    level: Name | None = None
    """None: the strongest that the host has."""
    allow_weak: bool = False
    """Open a file even where only resource limits hold it."""


class Original:
    """A model that is open in a worker, and answers from there.

    Every method raises IsolationError when the worker dies, hangs or babbles, and
    ConversionError when the model itself refuses.
    """

    def __init__(
        self, channel: Channel, level: Level, description: Description, policy: Policy
    ) -> None:
        self._channel = channel
        self._policy = policy
        self.level = level
        self.description = description

    @property
    def sandbox(self) -> str:
        """Name of the level of isolation, and what it was seen to stop."""
        return str(self.level)

    def predict(self, batch: Batch, features: tuple[Feature, ...]) -> Raw:
        """Return the raw outputs of the original, by the names that graphs use too."""
        request = m.Predict(rows=m.pack_rows(batch), features=features)
        return m.unpack_raw(_asked(self._channel, request, m.Answer))

    def to_onnx(self, features: tuple[Feature, ...], name: str) -> tuple[bytes, tuple[Feed, ...]]:
        """Return an ONNX model called `name`, and how it is fed."""
        graph = _asked(self._channel, m.ToOnnx(features=features, name=name), m.Graph)
        self._audited(graph.data, "onnx")
        return graph.data, graph.feeds

    def write(self, runtime: Runtime) -> tuple[bytes, tuple[str, ...]]:
        """Return the file of a runtime, and the cleared types in it that skops must be told to trust."""
        written = _asked(self._channel, m.Write(runtime=runtime), m.Written)
        self._audited(written.data, runtime)
        return written.data, written.trusted

    def hug(self, batch: Batch, features: tuple[Feature, ...], *, cap: int, seed: int) -> Batch:
        """Return at most `cap` rows beside split thresholds, made from rows of `batch`."""
        request = m.Hug(rows=m.pack_rows(batch), features=features, cap=cap, seed=seed)
        return m.unpack_rows(_asked(self._channel, request, m.Rows))

    def score(
        self,
        artifact: Artifact,
        batch: Batch,
        features: tuple[Feature, ...],
        tensors: tuple[str, ...],
    ) -> Raw:
        """Return these raw outputs of an artifact, opened anew by the service's own scorer."""
        request = m.Score(
            runtime=artifact.runtime,
            data=artifact.data,
            named=artifact.named,
            rows=m.pack_rows(batch),
            features=features,
            tensors=tensors,
        )
        return m.unpack_raw(_asked(self._channel, request, m.Answer))

    def explain(self, features: tuple[Feature, ...]) -> tuple[Obstacle, ...]:
        """Return every part of the original that can't become ONNX."""
        return _asked(self._channel, m.Explain(features=features), m.Explained).obstacles

    def prefix(self, batch: Batch, features: tuple[Feature, ...], length: int) -> m.Prefixed:
        """Return what the first `length` steps of a pipeline answer, and the graph that they become."""
        request = m.Prefix(rows=m.pack_rows(batch), features=features, length=length)
        prefixed = _asked(self._channel, request, m.Prefixed)
        self._audited(prefixed.data, "onnx")
        return prefixed

    def _audited(self, data: bytes, kind: Runtime) -> None:
        """Judge what the worker made as if a stranger had: a model that took it over may have made it."""
        standing = objections(audit_bytes(data, kind), self._policy)
        if standing:
            raise IsolationError(f"the worker made a model that is refused: {standing[0].message}")


def _asked(channel: Channel, request: m.Request, kind: type[_Reply]) -> _Reply:
    """Return the reply, which must be of this kind; raises the error that it tells of."""
    reply = channel.ask(request)
    if isinstance(reply, m.Failed):
        errors: dict[str, type[CanneryError]] = {
            "conversion": ConversionError,
            "unsafe": UnsafeError,
            "isolation": IsolationError,
        }
        hint = None if reply.hint is None else printable(reply.hint)
        raise errors[reply.kind](printable(reply.message), hint=hint)
    if not isinstance(reply, kind):
        raise IsolationError(f"the worker answered {type(reply).__name__}, not {kind.__name__}")
    return reply


def _level_for(cleared: Cleared, options: IsolationOptions) -> Level:
    """Return the level to use; raises IsolationError when it is too weak.

    Where the host can have a strong one it is required, whatever the audit said; where it can't, what
    was found safe is opened all the same.
    """
    if options.allow_weak:
        return _weak(options)
    level = strongest()
    if options.level is not None and options.level != level.name:
        level = probe(options.level)
    if level.strong or (cleared.audit.verdict == "safe" and not strongest().strong):
        return level
    raise IsolationError(
        f"'{cleared.source.main}' was found '{cleared.audit.verdict}', and would be held only by {level}",
        hint="; ".join(level.reasons)
        or "leave the level to the host, or accept the risk with --allow-weak-sandbox",
    )


def _weak(options: IsolationOptions) -> Level:
    """Return the strongest level that starts, or the one that was asked for."""
    for name in (options.level,) if options.level else LEVELS:
        try:
            return probe(name)
        except IsolationError as error:
            log.warning("%s", error.message)
    raise IsolationError(
        "no worker can be started on this host, not even with resource limits alone"
    )


@contextmanager
def open_original(
    cleared: Cleared, environment: Environment, options: IsolationOptions | None = None
) -> Iterator[Original]:
    """Open a cleared pickle, skops or booster file in a sandboxed worker; when the block ends, so has the worker.

    Raises IsolationError when there is no worker to be had, UnsafeError when opening reaches a name
    that was not cleared, ConversionError when the file holds no fitted model.
    """
    options = options or IsolationOptions()
    source = cleared.source
    if source.format not in ("pickle", "joblib", "skops", "catboost", "lightgbm", "xgboost"):
        raise ConversionError(f"a model of the format '{source.format}' is not opened in a worker")
    level = _level_for(cleared, options)
    log.info("opening '%s' in a worker (%s)", source.main, level.name)
    words, env = command(level.name, options.limits, environment=environment)
    memory = handed(content(source.blob))
    inherited = (memory.fileno(),)
    with memory, started(words, env=env, stdin=PIPE, pass_fds=inherited) as process:
        channel = Channel(process, timeout=options.timeout, reply_limit=options.reply_limit)
        request = m.Open(
            format=source.format,
            digest=source.blob.digest,
            names=tuple(sorted(cleared.names)),
            descriptor=memory.fileno(),
        )
        told = _asked(channel, request, m.Opened).description
        memory.close()  # what was opened needs it no longer
        # What was installed is known here: the image's packages must not follow a worker's word.
        own = {package_of(name) for name in cleared.names}
        kept = {*told.versions, *own}
        versions = {n: v for n, v in environment.packages.items() if n in kept}
        description = msgspec.structs.replace(
            told,
            versions=versions,
            python=environment.python.version,
            assumed=environment.assumed,
        )
        yield Original(channel, level, description, cleared.policy)
