"""What the documents speak of is there: links, files, commands, options, variables, decisions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cannery.cli.main import COMMANDS, cannery
from cannery.serving import settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
}
ROOTS = (ROOT, ROOT / "src" / "cannery")
"""Where a file that is named may lie."""


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as they are made of them where it is shown."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every call of `cannery` in code, in a line or a block."""
    spans = re.findall(r"`(?:\$ )?(cannery [a-z][^`\n]*)`", text)
    lines = re.findall(r"^\s*\$ (cannery [a-z].*)$", text.replace("\\\n", " "), re.MULTILINE)
    for line in (*spans, *lines):
        yield re.split(r" (?:[|#>]|&&) ?", line)[0].split()


def known(name: str) -> set[str]:
    """Return every option of a command."""
    command = cannery.get_command(click.Context(cannery), name)
    assert command is not None
    return {word for p in command.params for word in (*p.opts, *p.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    """To a file of the repository, and to a heading of it where one is named."""
    for target in re.findall(r"\]\(([^)\s]+)\)", DOCUMENTS[name]):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        path = (ROOT / name).parent / place if place else ROOT / name
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text()), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_is_named_is_there(name: str) -> None:
    """Modules by their path below the package, all else by that below the root."""
    for word in re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|toml|json|md))`", DOCUMENTS[name]):
        assert any((root / word).exists() for root in ROOTS), word


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_and_option_that_is_shown_exists(name: str) -> None:
    """Whoever copies a line gets what it says."""
    for _, command, *words in commands(DOCUMENTS[name]):
        assert command in COMMANDS, command
        given = {re.split(r"[=\[\],]", word)[0] for word in words if re.match(r"\[?--?[a-z]", word)}
        assert {word.strip("[") for word in given} <= known(command), (command, words)


def test_every_setting_of_the_service_is_documented() -> None:
    """Each variable that is read is told of in `docs/service.md`."""
    source = Path(str(settings.__file__)).read_text()
    variables = set(re.findall(r"`([A-Z][A-Z_]{3,})`", source)) | set(settings.PORTS)
    assert {v for v in variables if f"`{v}`" not in DOCUMENTS["docs/service.md"]} == set()


def test_the_list_of_decisions_is_whole() -> None:
    """Every page stands in it once, under its own number and title."""
    pages = {}
    for name, text in DOCUMENTS.items():
        if found := re.fullmatch(r"docs/decisions/(\d{4})-.*\.md", name):
            title = re.match(r"# (\d+)\. (.+)\n", text)
            assert title is not None, f"{name} does not begin with '# {int(found[1])}. …'"
            assert int(title[1]) == int(found[1])
            pages[Path(name).name] = title.groups()
    listed = re.findall(r"^(\d+)\. \[(.+)\]\((.+)\)$", DOCUMENTS["docs/decisions/README.md"], re.M)
    assert {page: (number, title) for number, title, page in listed} == pages
    assert len(listed) == len(pages)
