"""What a finished image showed when it was started and tried."""

from __future__ import annotations

import msgspec

from cannery.errors import ProofError


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was tried."""

    name: str
    """`starts`, `canary`, `wrong records` …"""
    passed: bool
    detail: str
    """What was seen, or why it failed."""
    seconds: float


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """All that was tried on one image in one engine."""

    image: str
    """The image as the engine knows it: its id, or a name."""
    engine: str
    can: str
    """Digest of the can that it must serve."""
    checks: tuple[Check, ...]
    cold_start: float | None = None
    """Seconds from the start of the container to the first healthy answer."""
    first_prediction: float | None = None
    """Seconds from the start of the container to the first answer to a record."""
    memory: int | None = None
    """Resident bytes after the canary."""

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def passed(self) -> bool:
        """Whether something was tried and everything passed."""
        return bool(self.checks) and not self.failed


def require(proof: Proof) -> Proof:
    """Return the proof; raises ProofError, naming every check that failed."""
    if proof.passed:
        return proof
    reasons = "; ".join(f"{check.name}: {check.detail}" for check in proof.failed)
    raise ProofError(
        f"the image failed {len(proof.failed)} of {len(proof.checks)} checks: {reasons}",
        hint="a build gives such an image no name; mend the model or the build, and build again",
    )
