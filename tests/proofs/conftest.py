"""A toy that can be proven, and a real image composed from the packages of this machine's mirrors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from churn_cans import sealed
from toy_images import toy_image
from toys import CANARY, DIGEST, TOY

from cannery.cans.open import Can
from cannery.engines.sandbox import Sandbox
from cannery.images.compose import compose
from cannery.images.labels import labels_of
from cannery.images.lock import LockRequest, resolve
from cannery.images.plan import Plan
from cannery.images.store import Store
from cannery.oci.descriptors import Image
from cannery.proofs.contracts import Contract
from cannery.proofs.nouns import Proof
from cannery.proofs.prove import ProofOptions, prove

USER_CACHE = os.environ.get("CANNERY_CACHE")


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that is the cache of these tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True, scope="module")
def _keep_out_of_the_users_cache(own_cache: Path) -> Iterator[None]:
    """Keep unpacked images out of the user's cache, for these modules and no others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANNERY_CACHE", str(own_cache))
        yield


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the layers of all toys."""
    return tmp_path_factory.mktemp("toys")


@dataclass
class Toy:
    """Proves toys in the sandbox."""

    store: Path

    def prove(
        self,
        behaviour: str,
        digest: str = DIGEST,
        *,
        whole: bool = True,
        contracts: tuple[Contract, ...] = (),
        **settings: object,
    ) -> Proof:
        """Return the proof of a toy that behaves like this."""
        engine = Sandbox()
        subject = engine.load(toy_image(self.store, behaviour, **settings))
        version = msgspec.json.encode({"digest": digest}).decode()
        options = ProofOptions(
            environment={"VERSION": version}, timeout=5.0, whole=whole, contracts=contracts
        )
        return prove(engine, subject, CANARY, TOY, options, digest=DIGEST)


@pytest.fixture
def toy(toy_store: Path) -> Toy:
    """Return the prover of toys."""
    return Toy(toy_store)


@pytest.fixture(scope="session")
def can(tmp_path_factory: pytest.TempPathFactory) -> Can:
    """Return a sealed can around a small graph."""
    return sealed(tmp_path_factory.mktemp("cans") / "churn.can")


@pytest.fixture(scope="session")
def image(can: Can) -> Image:
    """Return the real image of that can; packages come from the user's cache and mirrors."""
    with pytest.MonkeyPatch.context() as patch:
        if USER_CACHE is None:
            patch.delenv("CANNERY_CACHE", raising=False)
        else:
            patch.setenv("CANNERY_CACHE", USER_CACHE)
        store = Store()
    plan = Plan(
        lock=resolve(LockRequest(), store),
        can=can.folder,
        manifest=can.manifest,
        labels=labels_of(can.manifest, can.digest),
    )
    return compose(plan, store)
