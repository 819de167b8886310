"""What the user's project says: `cannery.toml`, or `[tool.cannery]` in `pyproject.toml`."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from cannery.errors import Issue, UsageError
from cannery.signatures import Feature, Kind

LIMIT = 1 << 20
"""Bytes; a longer settings file is not read."""

EXAMPLE = '{ class = "Yes" }'
"""What one key of the `[outputs]` table may say."""

_CHOSEN = ("class", "label", "column", "top")

_TOLD_BELOW = {("trust", "names"), ("environment", "versions"), ("environment", "python")}
"""Keys whose values are judged one by one."""

_PYTHON = re.compile(r"3\.\d{1,2}(\.\d{1,3})?")
_EXACT = re.compile(r"[0-9][0-9A-Za-z.!+_-]*")
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
Positive = Annotated[float, msgspec.Meta(gt=0)]
"""Above 0."""


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[model]` table."""

    source: str | None = None
    """Path or URI of the model."""
    sample: str | None = None
    """Path of the sample, relative to the file that names it."""
    name: str | None = None


class TrustSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[trust]` table, in the shape of `audits.policy.Policy`."""

    names: dict[str, str] = {}
    """Exact dotted name → the reviewer's reason."""
    pickle: Literal["refuse", "boundary"] = "refuse"
    digests: tuple[str, ...] = ()


class FeatureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one column of the `[features]` table holds."""

    type: Kind
    nullable: bool = True
    """Whether it may be missing, where the model scores such rows."""
    categories: tuple[str | int | float, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None


class OutputChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one key of the `[outputs]` table says: exactly one of the first four, and how it is shown."""

    class_: str | int | float | bool | None = msgspec.field(name="class", default=None)
    """The probability of this class."""
    label: bool | None = None
    """The predicted label."""
    column: int | None = None
    """A column of a regressor's or transformer's answer; 0 where there is only one.

    Of a classifier of several labels, one of its fields: the labels, then their probabilities.
    """
    top: int | None = None
    """The most probable classes, so many, each with its probability."""
    threshold: float | None = None
    """Of a number: whether it is at least this. Of a label of two classes: from which probability on it
    is the second."""
    map: dict[str, str | int | float | bool] | None = None
    """Class → what is answered in its place."""


class EnvironmentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[environment]` table: with what the model was trained, above all that was recorded."""

    python: str | None = None
    """`3.10`: no other will do."""
    versions: dict[str, str] = {}
    """Name of a package → its exact version."""


class ParitySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[parity]` table."""

    tolerance: float | None = None
    """How far a converted score may be off."""


class ImageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[image]` table."""

    base: str | None = None
    """`debian`, or the reference of an image."""
    mirror: str | None = None
    """Address of a Debian mirror."""
    media: Literal["docker", "oci"] | None = None
    mode: Literal["bake", "pull"] | None = None
    platforms: tuple[Literal["linux/amd64", "linux/arm64"], ...] | None = None
    compression: Literal["gzip", "zstd"] | None = None
    extras: tuple[Literal["grpc", "parquet"], ...] | None = None
    """What the service is to have beyond what every image has."""
    size_budget: str | int | None = None
    """Of all layers as they travel: `60 MB`, or bytes."""
    start_budget: Positive | None = None
    """Seconds until the container is healthy."""
    memory_budget: str | int | None = None
    """Resident after the canary: `200 MB`, or bytes."""
    cve: tuple[str, ...] | None = None
    """Paths of advisories in OSV's format, relative to the file that names them."""
    accepted: dict[str, str] = {}
    """Advisory, or an alias of it → why it is lived with."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a settings file can say."""

    model: ModelSettings = ModelSettings()
    trust: TrustSettings = TrustSettings()
    features: dict[str, FeatureSettings] = {}
    """Name of a column → what it holds: `"long"`, or `{ type = "string", categories = ["a"] }`."""
    outputs: dict[str, dict[str, Any]] = {}
    """Name of an answered field → what it shows, e.g. `{"class": "Yes"}`."""
    environment: EnvironmentSettings = EnvironmentSettings()
    parity: ParitySettings = ParitySettings()
    image: ImageSettings = ImageSettings()
    found: Path | None = None
    """The file that they were read from; None where there is none."""


def features_of(settings: Settings) -> tuple[Feature, ...]:
    """Return the `[features]` table as features."""
    return tuple(
        Feature(name=name, **msgspec.structs.asdict(told))
        for name, told in settings.features.items()
    )


_TABLES: dict[str, type[msgspec.Struct]] = {
    "model": ModelSettings,
    "trust": TrustSettings,
    "environment": EnvironmentSettings,
    "parity": ParitySettings,
    "image": ImageSettings,
}


def load_settings(folder: Path, explicit: Path | None = None) -> Settings:
    """Read `explicit`, else `cannery.toml` or the `[tool.cannery]` table of `pyproject.toml` in `folder`.

    Without any of them, returns the defaults. Raises UsageError that names every problem at once.
    """
    if explicit is not None:
        document = _table(explicit)
        if document is None:
            raise UsageError(
                f"'{explicit}' has no [tool.cannery] table", hint="add one, or name a cannery.toml"
            )
        return parse_settings(document, explicit)
    own, shared = folder / "cannery.toml", folder / "pyproject.toml"
    document = _table(own) if own.is_file() else None
    elsewhere = _table(shared) if shared.is_file() else None
    if document is not None and elsewhere is not None:
        raise UsageError(
            f"both '{own}' and [tool.cannery] in '{shared}' hold settings",
            hint="keep one of them: which policy holds must not be a matter of order",
        )
    if document is not None:
        return parse_settings(document, own)
    return Settings() if elsewhere is None else parse_settings(elsewhere, shared)


def parse_settings(document: Mapping[str, Any], file: Path) -> Settings:
    """Check a parsed document and return it typed; raises UsageError naming key, file and nearest name."""
    issues = list(_issues(document))
    if issues:
        text = "; ".join(str(issue) for issue in issues)
        plural = f"{len(issues)} problems in '{file}': " if len(issues) > 1 else f"in '{file}': "
        raise UsageError(plural + text)
    features = {n: _spelled(value) for n, value in document.get("features", {}).items()}
    return msgspec.convert({**document, "features": features, "found": file}, Settings)


def _spelled(value: Any) -> Any:
    """Return what a column holds as a table, where its type alone is given."""
    return {"type": value} if isinstance(value, str) else value


def _table(path: Path) -> Mapping[str, Any] | None:
    """Return the table that is ours in the file at `path`; None for a pyproject.toml without one."""
    try:
        with path.open("rb") as stream:
            data = stream.read(LIMIT + 1)
    except OSError as error:
        raise UsageError(f"can't read '{path}': {error.strerror}") from error
    if len(data) > LIMIT:
        raise UsageError(f"'{path}' has more than {LIMIT} bytes: too long for settings")
    try:
        document: Any = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path}' is not TOML: {error}") from error
    if path.name != "pyproject.toml":
        return document  # type: ignore[no-any-return]
    tool = document.get("tool")
    table = tool.get("cannery") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"in '{path}': 'tool.cannery' is not a table")
    return table


def _issues(document: Mapping[str, Any]) -> Iterator[Issue]:
    known = [*_TABLES, "features", "outputs"]
    for key, value in document.items():
        if key not in known:
            yield _unknown(key, "", known)
        elif not isinstance(value, dict):
            yield Issue(path=key, expected="a table", got=_kind(value))
        elif key == "outputs":
            for name, choice in value.items():
                yield from output_issues(name, choice)
        elif key == "features":
            yield from _feature_issues(value)
        else:
            yield from _field_issues(value, _TABLES[key], key)
    trust, environment = document.get("trust"), document.get("environment")
    if isinstance(trust, dict):
        yield from _trust_issues(trust)
    if isinstance(environment, dict):
        yield from _environment_issues(environment)
    image = document.get("image")
    accepted = image.get("accepted") if isinstance(image, dict) else None
    for name, reason in (accepted if isinstance(accepted, dict) else {}).items():
        if isinstance(reason, str) and not reason.strip():
            yield Issue(path=f"image.accepted.{name}", expected="the reason", got=_kind(reason))


def _field_issues(
    table: dict[str, Any], owner: type[msgspec.Struct], place: str
) -> Iterator[Issue]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(owner)}
    for key, value in table.items():
        if key not in fields:
            yield _unknown(key, f"{place}.", list(fields))
        elif (place, key) not in _TOLD_BELOW:
            try:
                msgspec.convert(value, fields[key].type)
            except msgspec.ValidationError:
                expected = _wanted(fields[key].type)
                yield Issue(path=f"{place}.{key}", expected=expected, got=_kind(value))


def _feature_issues(table: dict[str, Any]) -> Iterator[Issue]:
    for name, value in table.items():
        place, spelled = f"features.{name}", _spelled(value)
        if not isinstance(spelled, dict):
            expected = 'a type, or a table such as { type = "string" }'
            yield Issue(path=place, expected=expected, got=_kind(value))
            continue
        yield from _field_issues(spelled, FeatureSettings, place)
        if "type" not in spelled:
            yield Issue(path=f"{place}.type", expected=_wanted(Kind), got="none")


def output_issues(name: str, choice: Any) -> Iterator[Issue]:
    """Yield what is wrong with one key of the `[outputs]` table, whatever the model."""
    place = f"outputs.{name}"
    if not isinstance(choice, dict):
        yield Issue(path=place, expected=f"a table such as {EXAMPLE}", got=_kind(choice))
        return
    unfit = list(_field_issues(choice, OutputChoice, place))
    yield from unfit
    chosen = [
        key for key in _CHOSEN if key in choice and not (key == "label" and choice[key] is False)
    ]
    if len(chosen) != 1 and not unfit:
        expected, got = f"one of {', '.join(_CHOSEN)}", " and ".join(chosen) or "none"
        yield Issue(path=place, expected=expected, got=got)
    if unfit or len(chosen) != 1:
        return
    top, threshold, names = (choice.get(key) for key in ("top", "threshold", "map"))
    if top is not None and top < 1:
        yield Issue(path=f"{place}.top", expected="a whole number from 1 on", got=str(top))
    if threshold is not None and chosen != ["column"] and not 0 <= threshold <= 1:
        expected = "a probability, from 0 to 1"
        yield Issue(path=f"{place}.threshold", expected=expected, got=str(threshold))
    elif threshold is not None and (chosen == ["top"] or not math.isfinite(threshold)):
        expected = "a number, beside class, label or column"
        yield Issue(path=f"{place}.threshold", expected=expected, got=str(threshold))
    if names is not None and len({type(value) for value in names.values()}) != 1:
        expected = "names or numbers of one type for the classes"
        yield Issue(path=f"{place}.map", expected=expected, got=_kind(names))


def _environment_issues(table: dict[str, Any]) -> Iterator[Issue]:
    python, versions = table.get("python"), table.get("versions", {})
    if python is not None and not (isinstance(python, str) and _PYTHON.fullmatch(python)):
        expected = 'a version of Python in quotes, such as "3.11"'
        yield Issue(path="environment.python", expected=expected, got=_kind(python))
    if not isinstance(versions, dict):
        expected = "a table of package = version"
        yield Issue(path="environment.versions", expected=expected, got=_kind(versions))
        return
    for name, version in versions.items():
        if not (isinstance(version, str) and _EXACT.fullmatch(version)):
            expected = 'an exact version in quotes, such as "1.5.2"'
            yield Issue(path=f"environment.versions.{name}", expected=expected, got=_kind(version))


def _trust_issues(trust: dict[str, Any]) -> Iterator[Issue]:
    names = trust.get("names", {})
    if not isinstance(names, dict):
        yield Issue(path="trust.names", expected="a table of name = reason", got=_kind(names))
        names = {}
    for name, reason in names.items():
        place = f'trust.names."{name}"'
        if isinstance(reason, dict):
            yield Issue(
                path=place,
                expected='the dotted name in quotes: names."a.b" = "reason"',
                got="a table",
            )
        elif any(c in name for c in "*?["):
            yield Issue(path=place, expected="one exact dotted name", got="a wildcard")
        elif not _DOTTED.fullmatch(name):
            yield Issue(
                path=place, expected="a dotted name such as package.module.Name", got="none"
            )
        elif not isinstance(reason, str) or not reason.strip():
            yield Issue(path=place, expected="the reviewer's reason", got=_kind(reason))
    digests = trust.get("digests", [])
    for index, digest in enumerate(digests if isinstance(digests, list) else []):
        if isinstance(digest, str) and not _DIGEST.fullmatch(digest):
            yield Issue(
                path=f"trust.digests[{index}]", expected="sha256:<64 hex digits>", got=f"'{digest}'"
            )


def _unknown(key: str, place: str, known: list[str]) -> Issue:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    expected = f"'{near[0]}'" if near else f"one of {', '.join(sorted(known))}"
    return Issue(path=place + key, expected=expected, got=f"the unknown key '{key}'")


def _wanted(hint: Any) -> str:
    """Say in words what a field takes."""
    if hint is str:
        return "a text"
    if hint in (int, float):
        return "a number"
    if hint is bool:
        return "true or false"
    if typing.get_origin(hint) is dict:
        return "a table"
    if typing.get_origin(hint) is Literal:
        return " or ".join(f"'{choice}'" for choice in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "a list of texts"
    if hint is Positive:
        return "a number above 0"
    return " or ".join(_wanted(part) for part in typing.get_args(hint) if part is not type(None))


def _kind(value: Any) -> str:
    return "an empty text" if value == "" else f"{type(value).__name__} {value!r}"[:60]
