"""An image over its budget is refused, with what grew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from image_parts import file, make_image, make_layer

from cannery.budgets import Budgets, check_budgets, parse_size, remember_sizes
from cannery.errors import BudgetError, UsageError
from cannery.images.store import Store
from cannery.oci.descriptors import Image
from cannery.oci.references import parse
from cannery.proofs.nouns import Check, Proof

NAME = parse("churn:v1")
PROOF = Proof(
    image="x",
    engine="docker",
    can="sha256:0",
    checks=(Check(name="starts", passed=True, detail="", seconds=1.0),),
    cold_start=1.5,
    memory=90_000_000,
)


def image_of(place: Path, **layers: int) -> Image:
    """Return an image with layers of these names and about these sizes."""
    made = [
        replace(make_layer(place, file("x", b"." * size), compressed=False), name=name)
        for name, size in layers.items()
    ]
    return make_image(*made)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty store."""
    return Store(root=tmp_path / "store")


def test_within_its_budgets_an_image_passes(store: Store, tmp_path: Path) -> None:
    """Without limits, and at exactly the limits."""
    image = image_of(tmp_path, base=1000)
    check_budgets(Budgets(), image, None, NAME, store)
    limits = Budgets(size=image.size, start=1.5, memory=90_000_000)
    check_budgets(limits, image, PROOF, NAME, store)


def test_too_large_names_the_layer_that_grew(store: Store, tmp_path: Path) -> None:
    """Compared with the last image of that name that was within; the first names its largest layer."""
    limits = Budgets(size=2_000_000)
    with pytest.raises(BudgetError, match="the largest layer is 'base'"):
        check_budgets(limits, image_of(tmp_path, base=2_500_000), None, NAME, store)
    before = image_of(tmp_path, base=500_000, numpy=700_000, can=100_000)
    check_budgets(limits, before, None, NAME, store)
    remember_sizes(before, NAME, store)
    after = image_of(tmp_path, base=500_000, numpy=1_700_000, can=150_000)
    with pytest.raises(BudgetError) as caught:
        check_budgets(limits, after, None, NAME, store)
    assert "size is 2.4 MB, 2.0 MB allowed" in caught.value.message
    assert "the layer 'numpy' grew by 1.0 MB" in caught.value.message
    with pytest.raises(BudgetError, match="the layer 'numpy' grew"):
        check_budgets(limits, after, None, parse("churn:v2"), store)


def test_slow_and_hungry_are_told_at_once(store: Store, tmp_path: Path) -> None:
    """Every limit that is passed stands in the message."""
    limits = Budgets(start=1.0, memory=80_000_000)
    with pytest.raises(BudgetError, match=r"start is 1.50 s, 1.00 s allowed; memory is 90.0 MB"):
        check_budgets(limits, image_of(tmp_path, base=1), PROOF, NAME, store)


@pytest.mark.parametrize(
    ("text", "found"),
    [("60 MB", 60_000_000), ("0.5GiB", 1 << 29), ("12", 12), (7, 7), (None, None)],
)
def test_sizes_are_read_as_people_write_them(text: str | int | None, found: int | None) -> None:
    """Decimal and binary units, with and without a blank."""
    assert parse_size(text, "image.size_budget") == found


@pytest.mark.parametrize("text", ["", "MB", "-3 MB", "0 MB", "12 parsecs", "1e3", 0, -5])
def test_what_is_no_size_is_refused(text: str) -> None:
    """The error names value and setting."""
    with pytest.raises(UsageError, match=r"at image.size_budget is no size"):
        parse_size(text, "image.size_budget")
