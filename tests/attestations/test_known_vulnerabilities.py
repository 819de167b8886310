"""Advisories in OSV's format are held against the packages of an image, exactly and offline."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from foreign_bases import foreign_base

from cannery.attestations.advisories import Advisories, Report, report_of
from cannery.attestations.sbom import libraries_of
from cannery.budgets import check_advisories
from cannery.errors import BudgetError, SourceError
from cannery.images.lock import Lock
from cannery.images.packages import DebianPackage, Platform, Wheel


def debian(name: str, version: str, source: str) -> DebianPackage:
    """Return a package as a lock has it."""
    path = f"pool/main/{source[0]}/{source}/{name}.deb"
    return DebianPackage(
        name=name, version=version, architecture="amd64", path=path, sha256="a" * 64, size=1
    )


LOCK = Lock(
    created="2026-11-21T02:10:46Z",
    runtime="onnx",
    platforms={
        "amd64": Platform(
            debian=(
                debian("libssl3t64", "3.5.1-1+deb13u1", "openssl"),
                debian("zlib1g", "1:1.3.dfsg+really1.3.1-1+b1", "zlib"),
            ),
            wheels=(
                Wheel(name="numpy", version="2.4.0rc1", filename="n.whl", sha256="b" * 64),
                Wheel(name="msgspec", version="0.19.0", filename="m.whl", sha256="c" * 64),
            ),
        )
    },
)
LIBRARIES = libraries_of(LOCK, "amd64")


def record(name: str, ecosystem: str, package: str, *events: dict[str, str], **more: Any) -> dict:
    """Return an advisory on one package."""
    entry = {
        "package": {"ecosystem": ecosystem, "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        **more.pop("entry", {}),
    }
    return {"id": name, "modified": "2026-11-20T00:00:00Z", "affected": [entry], **more}


ELSEWHERE = (
    record("CVE-1", "Debian:13", "other", {"introduced": "0"}),
    record("CVE-2", "PyPI", "other", {"introduced": "0"}),
)
"""So that both ecosystems are spoken of."""


def report(folder: Path, *records: dict, **accepted: str) -> Report:
    """Return what these advisories say of the image."""
    path = folder / "advisories.json"
    path.write_text(json.dumps([*ELSEWHERE, *records]))
    return report_of(LIBRARIES, Advisories(paths=(path,), accepted=accepted))


@pytest.mark.parametrize(
    ("distribution", "suite", "ecosystem"),
    [
        ("debian", "bookworm", "Debian:12"),
        ("ubuntu", "noble", "Ubuntu:24.04:LTS"),
        ("other", "one", "Other:one"),
    ],
)
def test_what_came_with_a_base_is_held_against_them(
    tmp_path: Path, distribution: str, suite: str, ecosystem: str
) -> None:
    """Packages of a base are known by the version of their source, in the words of their distribution."""
    base = foreign_base("14.2.0-18", distribution=distribution, suite=suite)
    platforms = {"amd64": Platform(image=base, wheels=())}
    lock = Lock(created="2026-11-21T02:10:46Z", runtime="onnx", platforms=platforms)
    path = tmp_path / "advisories.json"
    found = record("CVE-3", ecosystem, "gcc-14", {"introduced": "0"}, {"fixed": "14.2.0-19"})
    path.write_text(json.dumps([found]))
    said = report_of(libraries_of(lock, "amd64"), Advisories(paths=(path,)))
    assert [(f.advisory, f.package, f.fixed) for f in said.findings] == [
        ("CVE-3", "libgcc-s1", "14.2.0-19")
    ]


@pytest.mark.parametrize(
    ("ecosystem", "package", "events", "fixed"),
    [
        ("Debian:13", "openssl", [{"introduced": "0"}, {"fixed": "3.5.1-1+deb13u2"}], True),
        ("Debian:13", "openssl", [{"introduced": "0"}, {"fixed": "3.5.1-1+deb13u1"}], None),
        ("Debian:13", "openssl", [{"introduced": "3.5.1-1+deb13u10"}], None),
        ("Debian:13", "openssl", [{"introduced": "0"}], False),
        ("Debian:12", "openssl", [{"introduced": "0"}], None),
        ("Debian:13", "libssl3t64", [{"introduced": "0"}], None),
        # Debian built zlib again from the same source: the last affected one is still this one.
        ("Debian:13", "zlib", [{"introduced": "0"}, {"last_affected": "1:1.3.dfsg+really1.3.1-1"}], False),
        ("Debian:13", "zlib", [{"introduced": "0"}, {"last_affected": "1:1.3.dfsg-9"}], None),
        # A release candidate is older than the release that mends it.
        ("PyPI", "numpy", [{"introduced": "2.0"}, {"fixed": "2.4.0"}], True),
        ("PyPI", "numpy", [{"introduced": "2.4.0"}], None),
        ("PyPI", "Msg_Spec", [{"introduced": "0"}], None),
        ("PyPI", "MSGSPEC", [{"introduced": "0"}, {"fixed": "0.18"}, {"introduced": "0.19"}], False),
        ("PyPI", "msgspec", [{"introduced": "0"}, {"fixed": "0.18"}], None),
        ("PyPI", "msgspec", [{"introduced": "not a version"}], False),
    ],
)  # fmt: skip
def test_versions_are_compared_by_the_rules_of_their_ecosystem(
    tmp_path, ecosystem, package, events, fixed
) -> None:
    """Found with its remedy (True), found without one (False), or not affected (None)."""
    found = report(tmp_path, record("CVE-2026-1", ecosystem, package, *events)).findings
    assert [one.fixed is not None for one in found] == ([] if fixed is None else [fixed])


def test_a_finding_names_the_package_of_the_image(tmp_path) -> None:
    """Advisories speak of sources; the image has what was built from them."""
    events = ({"introduced": "0"}, {"fixed": "3.5.1-1+deb13u2"})
    found = report(
        tmp_path,
        record("DEBIAN-CVE-2026-9", "Debian:13", "openssl", *events, upstream=["CVE-2026-9"]),
    )
    with pytest.raises(BudgetError) as caught:
        check_advisories([found], "churn:v1")
    assert "libssl3t64 3.5.1-1+deb13u1 has DEBIAN-CVE-2026-9 / CVE-2026-9" in caught.value.message
    assert "fixed in 3.5.1-1+deb13u2" in caught.value.message
    assert "cannery update" in str(caught.value.hint)
    assert (found.advisories, found.packages, found.newest[:10]) == (3, 4, "2026-11-20")


def test_listed_versions_count_without_ranges(tmp_path) -> None:
    """Malicious releases are listed one by one; no fix is needed to refuse them."""
    entry = {"ranges": [], "versions": ["0.19.0"]}
    found = report(tmp_path, record("MAL-2026-1", "PyPI", "msgspec", entry=entry))
    with pytest.raises(BudgetError, match=r"msgspec 0\.19\.0 has MAL-2026-1"):
        check_advisories([found], "churn:v1")


def test_what_has_no_remedy_or_a_reason_is_told_and_let_pass(tmp_path) -> None:
    """A build can't mend the first, and somebody answers for the second, by any of its names."""
    mended = ({"introduced": "0"}, {"fixed": "9"})
    found = report(
        tmp_path,
        record("CVE-3", "Debian:13", "openssl", {"introduced": "0"}),
        record("GHSA-4", "PyPI", "msgspec", *mended, aliases=["CVE-4"]),
        **{"CVE-4": "we decode nothing from outside"},
    )
    check_advisories([found], "churn:v1")
    assert [(f.advisory, f.accepted) for f in found.findings] == [
        ("CVE-3", None),
        ("GHSA-4", "we decode nothing from outside"),
    ]


def test_withdrawn_and_unimportant_advisories_are_passed_over(tmp_path) -> None:
    """Somebody took the first back; Debian says of the second that it is no matter of security."""
    unimportant = {"ecosystem_specific": {"urgency": "unimportant"}}
    found = report(
        tmp_path,
        record("CVE-5", "PyPI", "msgspec", {"introduced": "0"}, withdrawn="2026-01-01T00:00:00Z"),
        record("CVE-6", "Debian:13", "openssl", {"introduced": "0"}, entry=unimportant),
    )
    assert found.findings == ()


def test_one_vulnerability_is_told_once(tmp_path) -> None:
    """Two databases speak of it under an alias; the one with a remedy is kept."""
    found = report(
        tmp_path,
        record("GHSA-7", "PyPI", "msgspec", {"introduced": "0"}, aliases=["CVE-7"]),
        record("PYSEC-7", "PyPI", "msgspec", {"introduced": "0"}, {"fixed": "1"}, aliases=["CVE-7"]),
    )  # fmt: skip
    assert [(f.advisory, f.fixed) for f in found.findings] == [("PYSEC-7", "1")]


def test_a_zip_a_folder_and_an_answer_of_osv_are_read(tmp_path) -> None:
    """The export of an ecosystem, records lying about, and what the service answers to a query."""
    hit = record("CVE-8", "PyPI", "msgspec", {"introduced": "0"}, {"fixed": "1"})
    folder = tmp_path / "folder"
    folder.mkdir()
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("CVE-1.json", json.dumps(ELSEWHERE[0]))
        archive.writestr("README.txt", "hello")
    (folder / "CVE-2.json").write_text(json.dumps(ELSEWHERE[1]))
    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps({"vulns": [hit]}))
    found = report_of(LIBRARIES, Advisories(paths=(folder, answer)))
    assert [f.advisory for f in found.findings] == ["CVE-8"]
    assert found.advisories == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no advisory in OSV's format"),
        (b'{"id": 3}', "is no advisory in OSV's format"),
        (b"[" * 100_000, "is no advisory in OSV's format"),
        (b"\xff\xfe", "is no advisory in OSV's format"),
        (b"PK\x05\x06" + bytes(18), "no advisory speaks of"),
        (b"[]", "no advisory speaks of Debian:13"),
    ],
    ids=["cut", "typed", "deep", "binary", "empty zip", "empty"],
)
def test_what_can_t_be_read_is_no_clean_bill(tmp_path, content, message) -> None:
    """A file that says nothing must not pass for one that knows of nothing."""
    path = tmp_path / "advisories.json"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        report_of(LIBRARIES, Advisories(paths=(path,)))


def test_an_ecosystem_that_is_not_spoken_of_is_said(tmp_path) -> None:
    """With advisories for wheels alone nothing is known of Debian's packages."""
    path = tmp_path / "advisories.json"
    path.write_text(json.dumps(ELSEWHERE[1]))
    with pytest.raises(SourceError, match="no advisory speaks of Debian:13"):
        report_of(LIBRARIES, Advisories(paths=(path,)))
    with pytest.raises(SourceError, match="can't read"):
        report_of(LIBRARIES, Advisories(paths=(tmp_path / "missing",)))
