"""Settings: found, typed, and every problem named at once."""

from pathlib import Path

import pytest

from cannery.errors import UsageError
from cannery.settings import Settings, features_of, load_settings
from cannery.signatures import Feature

GOOD = """\
[model]
source = "models:/churn-classifier@champion"
[trust]
names."acme.features.Ratio" = "pure numpy, reviewed 2026-11-20"
[outputs]
churn_probability = { class = "Yes" }
[image]
media = "oci"
"""


def _problems(folder: Path, text: str) -> str:
    (folder / "cannery.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_settings(folder)
    return caught.value.message


def test_no_file_gives_the_defaults(tmp_path: Path) -> None:
    """A folder without settings is no error: the policy then trusts nothing."""
    settings = load_settings(tmp_path)
    assert settings == Settings()
    assert settings.trust.names == {}
    assert settings.found is None


def test_cannery_toml_is_read_typed(tmp_path: Path) -> None:
    """Every table arrives in its field, and the file is remembered."""
    (tmp_path / "cannery.toml").write_text(GOOD)
    settings = load_settings(tmp_path)
    assert settings.model.source == "models:/churn-classifier@champion"
    assert settings.trust.names == {"acme.features.Ratio": "pure numpy, reviewed 2026-11-20"}
    assert settings.outputs == {"churn_probability": {"class": "Yes"}}
    assert settings.image.media == "oci"
    assert settings.found == tmp_path / "cannery.toml"


def test_pyproject_is_the_other_place(tmp_path: Path) -> None:
    """The table [tool.cannery] says the same as a file of its own."""
    (tmp_path / "pyproject.toml").write_text('[tool.cannery.model]\nname = "churn"\n')
    assert load_settings(tmp_path).model.name == "churn"


def test_a_pyproject_of_somebody_else_is_no_settings_file(tmp_path: Path) -> None:
    """A project that never heard of Cannery has the defaults."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert load_settings(tmp_path) == Settings()


def test_two_files_at_once_are_refused(tmp_path: Path) -> None:
    """Which policy holds must not depend on an order that nobody remembers."""
    (tmp_path / "pyproject.toml").write_text("[tool.cannery.trust]\n")
    assert "both" in _problems(tmp_path, GOOD)


def test_an_explicit_file_wins(tmp_path: Path) -> None:
    """A file that is named is read, whatever the folder holds."""
    (tmp_path / "cannery.toml").write_text(GOOD)
    other = tmp_path / "strict.toml"
    other.write_text('[model]\nname = "other"\n')
    settings = load_settings(tmp_path, other)
    assert (settings.model.name, settings.found) == ("other", other)


def test_a_missing_explicit_file_is_an_error(tmp_path: Path) -> None:
    """A policy that was asked for and isn't there must not become no policy."""
    with pytest.raises(UsageError, match="nowhere"):
        load_settings(tmp_path, tmp_path / "nowhere.toml")


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    """Key, file, nearest name, expected and got stand in one message."""
    text = '[model]\nsorce = "x"\nname = 3\n[trust]\npickle = "yes"\n[images]\nbase = "debian"\n'
    message = _problems(tmp_path, text)
    assert message.startswith(f"4 problems in '{tmp_path / 'cannery.toml'}'")
    assert "model.sorce: expected 'source'" in message
    assert "model.name: expected a text, got int 3" in message
    assert "trust.pickle: expected 'refuse' or 'boundary', got str 'yes'" in message
    assert "images: expected 'image'" in message


@pytest.mark.parametrize("name", ["acme.*", "*", "acme.feature?"])
def test_a_wildcard_is_never_trusted(tmp_path: Path, name: str) -> None:
    """Trust is given to one exact name, for a reason."""
    assert "wildcard" in _problems(tmp_path, f'[trust.names]\n"{name}" = "we own it"\n')


def test_an_unquoted_name_says_how_to_quote_it(tmp_path: Path) -> None:
    """TOML reads an unquoted dotted name as nested tables: the message shows the cure."""
    assert "in quotes" in _problems(tmp_path, '[trust]\nnames.acme.Ratio = "reviewed"\n')


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('[trust.names]\n"acme.Ratio" = " "\n', "reviewer's reason"),
        ('[trust.names]\nRatio = "x"\n', "package.module.Name"),
        ('[trust]\ndigests = ["abc"]\n', "trust.digests[0]"),
        ("trust = 3\n", "trust: expected a table"),
        ("[image]\nstart_budget = -1\n", "start_budget: expected a number above 0"),
        ('[outputs]\nscore = "Yes"\n', "outputs.score"),
        ("[model\n", "not TOML"),
        ("\x00", "not TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, part: str) -> None:
    """A reason, a dotted name, a full digest and a table are needed where they stand."""
    assert part in _problems(tmp_path, text)


def test_columns_may_be_told_by_type_or_in_full(tmp_path: Path) -> None:
    """The short form is a type alone."""
    file = tmp_path / "cannery.toml"
    file.write_text(
        '[features]\ntenure = "long"\n'
        'contract = { type = "string", categories = ["a", "b"], nullable = false }\n'
    )
    assert features_of(load_settings(tmp_path)) == (
        Feature(name="tenure", type="long", nullable=True),
        Feature(name="contract", type="string", categories=("a", "b")),
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('tenure = "integer"', "features.tenure.type"),
        ("tenure = 3", "features.tenure"),
        ("tenure = { nullable = true }", "features.tenure.type"),
        ('tenure = { type = "long", kategories = [] }', "categories"),
    ],
)
def test_what_a_column_can_not_hold_is_told(tmp_path: Path, line: str, problem: str) -> None:
    """Place and remedy are named."""
    file = tmp_path / "cannery.toml"
    file.write_text(f"[features]\n{line}\n")
    with pytest.raises(UsageError, match=problem):
        load_settings(tmp_path)


def test_an_environment_is_exact(tmp_path: Path) -> None:
    """Python and versions of the training are texts without bounds; every other value is named."""
    text = '[environment]\npython = "3.10"\nversions = { scikit-learn = "1.2.2" }\n'
    (tmp_path / "cannery.toml").write_text(text)
    told = load_settings(tmp_path).environment
    assert (told.python, told.versions) == ("3.10", {"scikit-learn": "1.2.2"})
    problems = _problems(
        tmp_path, '[environment]\npython = 3.1\nversions = { numpy = ">=2", scipy = 1.9 }\n'
    )
    for place in ("environment.python", "environment.versions.numpy", "environment.versions.scipy"):
        assert place in problems
    assert "environment.versions: expected a table" in _problems(
        tmp_path, "[environment]\nversions = []\n"
    )
