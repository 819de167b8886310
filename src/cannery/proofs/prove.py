"""Start a finished image, locked up as a platform would, and try all that it must do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from cannery.cans.manifest import CanManifest
from cannery.engines.engine import Container, Engine, Mount, Network, StartOptions
from cannery.errors import CanneryError, EngineError, ProofError
from cannery.proofs import questions, trials
from cannery.proofs.contracts import Contract
from cannery.proofs.nouns import Check, Proof
from cannery.proofs.questions import Golden
from cannery.signatures import Canary

ANYONE = "1234567:0"
"""A user that no image knows: some platforms start everything as such a one."""

Note = Callable[[str], None]
Trial = Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofOptions:
    """What is lent to the image, and what is asked of it."""

    mounts: tuple[Mount, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    offline: bool = True
    """Whether `smoke` must work without network, as it must where the can is inside."""
    host_network: bool = False
    """Whether it sees this machine's loopback, where a pulled can may come from."""
    shell: bool = False
    """Whether a shell in it is allowed, as in an image on somebody else's base."""
    timeout: float = 60.0
    """Seconds until it must be healthy."""
    whole: bool = True
    """Whether it is also started as `ANYONE`, and once more to score by itself without network.

    Neither depends on the model, so a further model on a foundation that has shown both can do without.
    """
    contracts: tuple[Contract, ...] = ()
    """The platforms whose contracts are tried, each by a start of its own."""


def prove(
    engine: Engine,
    subject: str,
    canary: Canary,
    manifest: CanManifest,
    options: ProofOptions | None = None,
    *,
    digest: str,
    note: Note = lambda _: None,
) -> Proof:
    """Try the image `subject` (an id or name that `engine` knows) and return what was seen.

    The root is read-only, there are no capabilities and no new privileges. `digest` is the can's. Nothing runs any more when this returns or raises; a check
    that fails raises nothing (see `require`), an engine that fails raises EngineError.
    """
    options = options or ProofOptions()
    trial = _Trial(
        engine=engine,
        subject=subject,
        golden=Golden(canary=canary, manifest=manifest),
        options=options,
        digest=digest,
        note=note,
    )
    return trial.run()


@dataclass(slots=True, kw_only=True)
class _Trial:
    """The proof while it is being made."""

    engine: Engine
    subject: str
    golden: Golden
    options: ProofOptions
    digest: str
    note: Note
    checks: list[Check] = field(default_factory=list)
    cold_start: float | None = None
    first_prediction: float | None = None
    memory: int | None = None

    def run(self) -> Proof:
        settings = self.engine.settings(self.subject)
        self._try("user", lambda: trials.user(settings))
        with contextlib.ExitStack() as stack:
            container = stack.enter_context(self.engine.start(self.subject, self._start_options()))
            if self._try("starts", lambda: self._healthy(container)):
                # The others start when this one is up, so that its start is timed alone.
                others = self._others(stack) if self.options.whole else []
                self._inside(container)
                for name, other in others:
                    self._try(name, other)
        if self.cold_start is not None:
            for contract in self.options.contracts:
                self._try(contract.platform, partial(self._kept, contract))
        return Proof(
            image=self.subject,
            engine=self.engine.name,
            can=self.digest,
            checks=tuple(self.checks),
            cold_start=self.cold_start,
            first_prediction=self.first_prediction,
            memory=self.memory,
        )

    def _others(self, stack: contextlib.ExitStack) -> list[tuple[str, Trial]]:
        """Start the image in two more ways, and return what is tried on them."""
        anyone = self._beside(stack, replace(self._start_options(), user=ANYONE))
        network: Network = "none" if self.options.offline else self._network
        command = replace(self._start_options(), command=("smoke",), network=network)
        smoke = self._beside(stack, command)
        return [
            ("any user", lambda: self._anyone(anyone())),
            ("smoke", lambda: trials.smoke(smoke())),
        ]

    def _beside(
        self, stack: contextlib.ExitStack, options: StartOptions
    ) -> Callable[[], Container]:
        """Start a further container; what goes wrong is raised when it is asked for."""
        try:
            container = stack.enter_context(self.engine.start(self.subject, options))
        except EngineError as error:
            trouble = error

            def fail() -> Container:
                raise trouble

            return fail
        return lambda: container

    def _inside(self, container: Container) -> None:
        self._try("canary", lambda: trials.canary(container, self.golden))
        self._try("wrong records", lambda: trials.wrong_records(container, self.golden))
        self._try("version", lambda: trials.version(container, self.digest))
        self._programs(container)
        self._try("SIGTERM", lambda: trials.drain(container))

    def _programs(self, container: Container) -> None:
        """Run what is run inside; most of it is waiting for the engine, so all at a time."""
        tried: dict[str, Trial] = {"health program": lambda: trials.health_program(container)}
        if not self.options.shell:
            tried["shell"] = lambda: trials.shell(container)
        with ThreadPoolExecutor() as pool:
            memory = pool.submit(container.memory)
            self.note(", ".join(tried))
            self.checks += pool.map(_checked, tried, tried.values())
        with contextlib.suppress(EngineError):
            self.memory = memory.result()

    def _try(self, name: str, trial: Trial) -> bool:
        self.note(name)
        self.checks.append(_checked(name, trial))
        return self.checks[-1].passed

    @property
    def _network(self) -> Network:
        return "host" if self.options.host_network else "bridge"

    def _start_options(self) -> StartOptions:
        return StartOptions(
            mounts=self.options.mounts,
            environment=self.options.environment,
            network=self._network,
        )

    def _healthy(self, container: Container) -> str:
        self.cold_start = container.wait_healthy(self.options.timeout)
        began = time.monotonic()
        with contextlib.suppress(ProofError):  # the canary's own check says what is wrong
            questions.answered(container, "/predict", self.golden.canary.records[0])
            self.first_prediction = self.cold_start + time.monotonic() - began
        return f"healthy after {self.cold_start:.2f} s, read-only, without capabilities"

    def _kept(self, contract: Contract) -> str:
        """Start the image as a platform does, and ask what it asks."""
        options = replace(
            self._start_options(),
            command=("serve",),
            user=contract.user,
            port=contract.port,
            port_variable=contract.port_variable,
            environment={**self.options.environment, **contract.environment},
        )
        with self.engine.start(self.subject, options) as container:
            container.wait_healthy(self.options.timeout)
            return contract.demand(container, self.golden)

    def _anyone(self, container: Container) -> str:
        container.wait_healthy(self.options.timeout)
        trials.canary(container, self.golden)
        return f"serves as {ANYONE}"


def _checked(name: str, trial: Trial) -> Check:
    began = time.monotonic()
    try:
        detail, passed = trial(), True
    except CanneryError as error:
        detail, passed = error.message, False
    return Check(
        name=name, passed=passed, detail=detail, seconds=round(time.monotonic() - began, 3)
    )
