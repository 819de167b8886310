"""The order of Debian's versions."""

from __future__ import annotations

from itertools import pairwise, product

from hypothesis import given
from hypothesis import strategies as st

from cannery.images.bases.versions import compare
from cannery.processes import run

VERSIONS = st.from_regex(r"([0-9]:)?[0-9][a-z0-9.+~]{0,6}(-[a-z0-9+.~]{1,4})?", fullmatch=True)


def test_versions_sort_as_the_policy_manual_says() -> None:
    """Tildes sort first, letters before signs, numbers by value, epochs above all."""
    order = [
        *("1.0~~", "1.0~rc1-1", "1.0~rc1-2", "1.0", "1.0-1~bpo1", "1.0-1", "1.0-1+b1", "1.0-1.1"),
        *("1.0a", "1.0+dfsg", "1.0.1", "1.9", "1.10", "2.41-12", "2.41-12+deb13u4"),
        *("2.41-12+deb13u10", "1:0.9"),
    ]
    assert all(
        compare(older, newer) < 0 < compare(newer, older) for older, newer in pairwise(order)
    )


def test_an_absent_revision_equals_zero() -> None:
    """`1.0` and `1.0-0` are one version."""
    assert compare("1.0", "1.0-0") == 0


def test_dpkg_orders_them_the_same_way() -> None:
    """The oddest versions of the archive, each against each, as `dpkg --compare-versions` has it."""
    odd = (
        *("0", "0.0", "00", "1.0", "1.0-0", "1.0-0~", "1.0~-1", "1.0~~a", "1:0", "0:1.0", "2:0-1"),
        *("1.0+b1", "1.0-1+b1", "1.0a", "1.0A", "1.0.", "1.0-1-1", "1:1.3.dfsg+really1.3.1-1+b1"),
        *("1:1.3.dfsg-3", "2.41-12+deb13u4", "2.41-12+deb13u10", "20250419", "3.5.1-1~bpo12+1"),
    )
    script = "while read a b; do dpkg --compare-versions $a lt $b && echo lt || "
    script += "{ dpkg --compare-versions $a eq $b && echo eq || echo gt; }; done"
    pairs = list(product(odd, repeat=2))
    done = run(["sh", "-c", script], stdin="\n".join(map(" ".join, [*pairs, ("", "")])).encode())
    words = {-1: "lt", 0: "eq", 1: "gt"}
    mine = [words[compare(one, other)] for one, other in pairs]
    assert done.stdout.decode().split()[: len(pairs)] == mine


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(one: str, two: str, three: str) -> None:
    """Comparing is antisymmetric and transitive."""
    assert compare(one, two) == -compare(two, one)
    if compare(one, two) <= 0 and compare(two, three) <= 0:
        assert compare(one, three) <= 0
