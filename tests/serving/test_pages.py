"""The pages for people: what they are sent with, and how they behave in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import DESK, PHONE, Browser, Page, browser
from churn_cans import RECORD, RECORDS, Caller, MakeCan, Running, expected, running

from cannery.images.serving_files import serving_tree
from cannery.serving.pages import ASSETS, FOLDER

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_browsers_get_a_page_and_programs_json(call: Caller) -> None:
    """By Accept alone; caches are told."""
    page = call("GET", "/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == "accept"
    assert call("GET", "/").json()["name"] == "churn"
    assert call("GET", "/", headers={"accept": "application/json"}).json()["name"] == "churn"


@pytest.mark.parametrize("path", ["/", "/docs", *ASSETS])
def test_pages_come_under_a_strict_policy(call: Caller, path: str) -> None:
    """No inline script or style, no foreign asset, no frame."""
    response = call("GET", path, headers=BROWSER)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"


def test_pages_name_no_other_place() -> None:
    """They work offline: nothing in them is fetched from elsewhere, and nothing stands inline."""
    for file in FOLDER.iterdir():
        text = file.read_text()
        assert not re.search(r"(src|href)=\"(https?:)?//", text)
        assert "innerHTML" not in text
        assert not re.search(r"\s(style|on\w+)=\"", text)


def test_every_file_of_the_pages_travels_into_an_image() -> None:
    """What the service reads when a browser asks must be there."""
    carried = {name.rpartition("cannery/serving/")[2] for name in serving_tree()}
    assert {f"page/{file.name}" for file in FOLDER.iterdir()} <= carried


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser for the tests of this file."""
    with browser(tmp_path_factory.mktemp("profile")) as running_browser:
        yield running_browser


@pytest.fixture
def service(make_can: MakeCan) -> Iterator[Running]:
    """Return a healthy service in a process of its own."""
    with running(make_can().folder) as running_service:
        yield running_service


@pytest.fixture
def page(chromium: Browser, service: Running) -> Page:
    """Return the model's page, loaded."""
    opened = chromium.page()
    opened.open(service.url)
    opened.wait("document.querySelector('#predict:enabled')")
    return opened


def values(page: Page) -> dict[str, Any]:
    """Return what stands in the form."""
    script = (
        "Object.fromEntries([...document.querySelectorAll('#fields > div')].map("
        "d => [d.querySelector('label').innerText, d.querySelector('input, select').value]))"
    )
    return dict(page.run(script))


def test_nothing_is_predicted_before_the_form_is_there(call: Caller) -> None:
    """The button waits for the schema and the example."""
    assert 'id="predict" disabled' in call("GET", "/", headers=BROWSER).text


@pytest.mark.browser
def test_the_form_is_filled_with_the_canary_and_predicts(page: Page, tmp_path: Path) -> None:
    """A click answers with a bar for the probability, and the model is named with its health."""
    assert values(page) == {"tenure": "2", "contract": "month", "monthly charges": "89.1"}
    page.wait("document.querySelector('#health').innerText === 'healthy'")
    assert page.text("h1") == "churn"
    page.click("#predict")
    page.wait("document.querySelector('#result progress')")
    percent = f"{expected(RECORD)['churn_probability'] * 100:.1f} %"
    assert percent in page.text("#result")
    assert "Yes" in page.text("#result")
    shown = page.run("document.querySelector('#result progress').value")
    assert shown == pytest.approx(expected(RECORD)["churn_probability"])
    assert "models:/churn/3" in page.text("#facts")
    assert len(page.picture(tmp_path / "desk.png")) > 10_000
    assert page.problems == []


@pytest.mark.browser
def test_another_example_changes_form_and_snippets(page: Page) -> None:
    """The commands always ask what the form asks."""
    page.click("#examples button:nth-of-type(2)")
    assert values(page)["contract"] == RECORDS[1]["contract"]
    assert '"tenure":60' in page.text("#curl")
    assert '"tenure": 60' in page.text("#python")


@pytest.mark.browser
def test_what_does_not_fit_is_said_beside_its_field(page: Page) -> None:
    """The field is marked, described and focused."""
    page.run("document.querySelector('#field-0').value = 'many'")
    page.click("#predict")
    page.wait("document.querySelector('#field-0').getAttribute('aria-invalid') === 'true'")
    assert page.text("#field-0-wrong") == 'expected a whole number, got "many"'
    assert page.run("document.activeElement.id") == "field-0"
    assert page.run("document.querySelector('#field-2').getAttribute('aria-invalid')") is None


@pytest.mark.browser
def test_the_keyboard_alone_is_enough(page: Page) -> None:
    """Tab reaches the fields, Enter predicts."""
    for _ in range(20):
        page.press("Tab", 9)
        if page.run("document.activeElement.id") == "field-0":
            break
    assert page.run("document.activeElement.id") == "field-0"
    page.run("document.activeElement.select()")
    page.type("60")
    page.press("Enter", 13, "\r")
    page.wait("document.querySelector('#result progress')")
    wanted = expected({**RECORD, "tenure": 60})["churn_probability"]
    assert f"{wanted * 100:.1f} %" in page.text("#result")


@pytest.mark.browser
@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_is_cut_off_at_any_size(
    chromium: Browser, service: Running, path: str, size: tuple[int, int], tmp_path: Path
) -> None:
    """Neither page scrolls sideways, on a phone or a desk."""
    opened = chromium.page()
    opened.open(service.url + path, size)
    opened.wait("document.querySelector('#facts dd, .operations section')")
    width = opened.run("document.documentElement.scrollWidth")
    assert width <= size[0]
    assert len(opened.picture(tmp_path / "page.png")) > 5_000
    assert opened.problems == []


@pytest.mark.browser
def test_a_phone_shows_each_value_beside_its_name(chromium: Browser, service: Running) -> None:
    """And the bar below both."""
    page = chromium.page()
    page.open(service.url, PHONE)
    page.wait("document.querySelector('#predict:enabled')")
    page.click("#predict")
    page.wait("document.querySelector('.answer progress')")
    places = page.run(
        "[...document.querySelectorAll('.answer progress')].map(bar => [bar.previousElementSibling,"
        " bar.nextElementSibling, bar].map(e => Math.round(e.getBoundingClientRect().top)))"
    )
    for name, value, bar in places:
        assert name == value < bar


@pytest.mark.browser
def test_every_control_has_a_name(page: Page) -> None:
    """What a screen reader reads: labels, language, one heading of the first rank."""
    unnamed = (
        "[...document.querySelectorAll('input, select, button, progress, a')].filter(e =>"
        "!e.closest('[hidden]') && !(e.labels?.length || e.innerText || e.ariaLabel)).length"
    )
    assert page.run(unnamed) == 0
    assert page.run("document.documentElement.lang") == "en"
    assert page.run("document.querySelectorAll('h1').length") == 1


@pytest.mark.browser
def test_a_token_is_asked_for_in_the_page(
    chromium: Browser, make_can: MakeCan, tmp_path: Path
) -> None:
    """The page itself is open and holds nothing of the model; the token opens it."""
    (tmp_path / "token").write_text("s3cret\n")
    with running(make_can().folder, TOKEN_FILE=str(tmp_path / "token")) as service:
        opened = chromium.page()
        opened.open(service.url)
        opened.wait("!document.querySelector('#token').hidden")
        assert opened.text("h1") == "Model"
        opened.click("#bearer")
        opened.type("s3cret")
        opened.press("Enter", 13, "\r")
        opened.wait("document.querySelector('h1').innerText === 'churn'")
        opened.click("#predict")
        opened.wait("document.querySelector('#result progress')")
