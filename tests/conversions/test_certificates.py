"""The parity certificate as a page: whole, safe, and the same every time."""

from __future__ import annotations

import html.parser
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from browsers import DESK, PHONE, browser
from churn_cans import make_manifest
from originals import CHURN, cleared_pickle

from cannery.conversions.certificates import certificate_page
from cannery.conversions.nouns import DECADES, Parity
from cannery.conversions.parity import certify
from cannery.conversions.probes import Probed
from cannery.line import pack
from cannery.processes import run
from cannery.signatures import Batch, Feature, Raw, Signature

SIGNATURE = Signature(features=(Feature(name="<b>a</b>", type="double"),), outputs=())
VOID = {"meta", "path", "line", "rect"}


class _Reader(html.parser.HTMLParser):
    """Reads a page strictly: every element is closed in its order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        assert not any(name in ("src", "href", "onload") for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def certificate(apart: float, rows: int = 500, **changes: Any) -> Parity:
    """Return a certificate of a model that is off by so much in one row."""
    numbers = np.linspace(0, 1, rows)[:, None]
    batch = Batch(numbers=numbers, strings=np.empty((rows, 0), dtype=object))
    ours = {"probabilities": np.hstack([1 - numbers, numbers])}

    def score(asked: Batch) -> Raw:
        wrong = np.where(asked.numbers == numbers[7], apart, 0.0)
        return {"probabilities": np.hstack([1 - asked.numbers, asked.numbers + wrong])}

    found = certify(
        [Probed(kind="sample", batch=batch, raw=ours)], score, SIGNATURE,
        runtime="onnx", tolerance=1e-6, refused=("null in '<i>'",),
    )  # fmt: skip
    return msgspec.structs.replace(found, **changes)


def page_of(parity: Parity) -> str:
    """Return the page of a certificate."""
    return certificate_page(make_manifest(), parity, model="sha256:00")


def test_the_page_shows_the_verdict_and_the_row_that_is_furthest_off() -> None:
    """Names of a model are anybody's, and stand there as text."""
    reader = _Reader(page_of(certificate(0.25)))
    text = " ".join(reader.words)
    assert "Not equal" in text
    assert "2.5e-01" in text
    assert "<b>a</b>" in text
    assert "null in '<i>'" in text
    assert not {"b", "i", "script", "img", "link"} & set(reader.seen)
    assert reader.seen.count("svg") == 3  # two plots, and the mark of one kind
    equal = " ".join(_Reader(page_of(certificate(0.0))).words)
    assert "Equal" in equal
    assert "No row differs at all" in equal


@pytest.mark.parametrize("apart", [0.0, 1e-17, 1e-9, 0.25, np.nan, np.inf])
def test_any_difference_can_be_drawn(apart: float) -> None:
    """A score that is not finite has no place in the plot, and is counted all the same."""
    found = certificate(apart)
    assert sum(found.differences[0].decades) == 500
    assert len(found.differences[0].decades) == len(DECADES) + 2
    assert found.equal == (apart < 1e-6)
    assert 100 <= len(found.points) <= 126
    _Reader(page_of(found))


def test_labels_alone_and_no_rows_can_be_drawn() -> None:
    """Without scores there is no plot of them."""
    page = page_of(certificate(0.0, points=(), differences=()))
    assert "<svg" not in page
    one = certificate(0.0, points=certificate(0.0).points[:1])
    assert "<svg" in page_of(one)


@pytest.fixture(scope="module")
def can(tmp_path_factory: pytest.TempPathFactory, pipeline: Any) -> Path:
    """Return the churn pipeline as a can."""
    folder = tmp_path_factory.mktemp("certified")
    cleared_pickle(folder / "churn.pkl", pipeline)
    return pack(str(folder / "churn.pkl"), output=folder / "can", sample=CHURN).folder


def test_the_can_holds_the_page_and_the_command_writes_it(can: Path, tmp_path: Path) -> None:
    """The one in the can can't name the can's digest; the command's can."""
    sealed = (can / "parity.html").read_text()
    assert "parity.html" in json.loads((can / "can.json").read_text())["files"]
    command = [sys.executable, "-m", "cannery", "parity", can]
    page = tmp_path / "page.html"
    done = run([*command, "--html", page])
    assert done.ok, done.complaint
    assert "verdict  equal on" in done.stdout.decode()
    assert page.read_text().count("sha256:") == sealed.count("sha256:") + 1
    assert "--force" in run([*command, "--html", page]).complaint
    told = json.loads(run([*command, "--json"]).stdout)
    assert told["equal"] is True
    assert told["versions"]["scikit-learn"]


@pytest.mark.browser
def test_the_page_fits_a_desk_and_a_phone(can: Path, tmp_path: Path) -> None:
    """Nothing is wider than the window, nothing is complained of, and the plots have sizes."""
    with browser(tmp_path / "profile") as running:
        for size in (DESK, PHONE):
            page = running.page()
            page.open((can / "parity.html").as_uri(), size)
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.run(wide) <= 0
            assert (
                page.run("document.querySelector('figure svg').getBoundingClientRect().width") > 200
            )
            assert not page.problems
        grounds = []
        for scheme in ("light", "dark"):
            page = running.page()
            told = [{"name": "prefers-color-scheme", "value": scheme}]
            page.send("Emulation.setEmulatedMedia", features=told)
            page.open((can / "parity.html").as_uri())
            grounds.append(page.run("getComputedStyle(document.body).backgroundColor"))
        assert grounds == ["rgb(251, 251, 249)", "rgb(20, 24, 29)"]
