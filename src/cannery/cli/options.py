"""Command-line options read from the frozen options classes that own them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def _type_of(hint: Any) -> Any:
    """Return the click type of a field's annotation."""
    arguments = [a for a in typing.get_args(hint) if a is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        return click.Choice([str(a) for a in arguments])
    if typing.get_origin(hint) is tuple:
        return _type_of(arguments[0])
    if arguments:
        return _type_of(arguments[0])
    if hint is Path:
        return click.Path(path_type=Path)
    return hint


def options_of(owner: type) -> Callable[[F], F]:
    """Add an option for every field of `owner` that carries `option(...)` metadata."""
    hints = typing.get_type_hints(owner)

    def decorate(function: F) -> F:
        for field in reversed(dataclasses.fields(owner)):
            if "option" not in field.metadata:
                continue
            spec = field.metadata["option"]
            hint = hints[field.name]
            flag = "--" + field.name.replace("_", "-")
            default = field.default
            if default is dataclasses.MISSING:
                default = field.default_factory() if callable(field.default_factory) else None
            is_flag = hint is bool
            function = click.option(
                flag,
                field.name,
                type=None if is_flag else _type_of(hint),
                is_flag=is_flag,
                multiple=typing.get_origin(hint) is tuple,
                default=default,
                show_default=default not in (None, False, (), ""),
                metavar=spec["metavar"],
                help=spec["help"],
            )(function)
        return function

    return decorate


def picked(owner: type[T], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the parsed options that belong to `owner`."""
    names = {field.name for field in dataclasses.fields(owner) if "option" in field.metadata}  # type: ignore[arg-type]
    return {name: value for name, value in given.items() if name in names}
