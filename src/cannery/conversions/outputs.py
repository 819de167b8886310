"""The fields of the answer: all that the model tells, or those that `[outputs]` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cannery.conversions.nouns import Description
from cannery.errors import UsageError
from cannery.settings import EXAMPLE, OutputChoice, output_issues
from cannery.signatures import Kind, Output, Raw

Value = str | int | float | bool


def outputs_of(
    description: Description, raw: Raw, choices: Mapping[str, Any]
) -> tuple[Output, ...]:
    """Return the fields of the answer: as `choices` (the `[outputs]` table) name them, else all.

    `raw` is an answer of the original, from which types and widths are read. Raises UsageError for
    a choice that the model can't fulfil, listing what it can.
    """
    if choices:
        return chosen_of(choices, lambda name, choice: _chosen(name, choice, description, raw))
    match description.task:
        case "classifier" if raw["label"].ndim == 2:
            return _several(description, raw)
        case "classifier" | "outlier" | "cluster":
            label = _label("label", description, raw)
            if "scores" in raw:
                return (label, Output(name="score", type="double", tensor="scores"))
            if "probabilities" not in raw:
                return (label,)
            classes = description.classes or ()
            return (
                label,
                *(_probability(f"probability_{c}", i, description) for i, c in enumerate(classes)),
            )
        case "transformer":
            return _columns("columns", raw, description.output_names)
        case _:
            return _columns("prediction", raw, ())


def _several(description: Description, raw: Raw) -> tuple[Output, ...]:
    """Return the fields of several labels at once: the labels, then their probabilities."""
    count = raw["label"].shape[1]
    labels = description.labels or ((0, 1),) * count
    fields = [
        msgspec.structs.replace(_label(f"label_{i}", description, raw), column=i, classes=labels[i])
        for i in range(count)
    ]
    named = [(f"probability_{i}_{c}", c) for i, classes in enumerate(labels) for c in classes]
    width = raw["probabilities"].shape[1] if "probabilities" in raw else 0
    if width != len(named):  # of 0 and 1, the probability of 1 alone
        named = [(f"probability_{i}", 1) for i in range(width)]
    fields += [
        Output(
            name=name,
            type="double",
            tensor="probabilities",
            column=place,
            classes=(value,),
            probability=True,
        )
        for place, (name, value) in enumerate(named)
    ]
    return tuple(fields)


def _columns(tensor: str, raw: Raw, names: tuple[str, ...]) -> tuple[Output, ...]:
    values = raw[tensor]
    if values.ndim == 1:
        return (Output(name=tensor, type="double", tensor=tensor),)
    width = values.shape[1]
    stem = "column" if tensor == "columns" else tensor
    if len(names) != width or len(set(names)) != width:
        names = tuple(f"{stem}_{i}" for i in range(width)) if width > 1 else (stem,)
    return tuple(
        Output(name=n, type="double", tensor=tensor, column=i) for i, n in enumerate(names)
    )


def _label(name: str, description: Description, raw: Raw) -> Output:
    kinds: dict[str, Kind] = {"b": "boolean", "i": "long", "f": "double"}
    kind = kinds.get(raw["label"].dtype.kind, "string")
    return Output(name=name, type=kind, tensor="label", classes=description.classes)


def _probability(name: str, index: int, description: Description) -> Output:
    return Output(
        name=name,
        type="double",
        tensor="probabilities",
        column=index,
        classes=((description.classes or ())[index],),
        probability=True,
    )


Choose = Callable[[str, OutputChoice], tuple[Output, ...]]


def chosen_of(choices: Mapping[str, Any], choose: Choose) -> tuple[Output, ...]:
    """Return the fields that the `[outputs]` table names; `choose` finds those of one key.

    Raises UsageError, naming key and remedy, for what can't be meant.
    """
    issues = [issue for name, value in choices.items() for issue in output_issues(name, value)]
    if issues:
        raise UsageError("; ".join(map(str, issues)), hint=EXAMPLE)
    found: dict[str, Output] = {}
    for key, value in choices.items():
        for output in choose(key, msgspec.convert(value, OutputChoice)):
            if output.name in found:
                raise UsageError(
                    f"'outputs.{key}' answers the field '{output.name}', which another key answers too",
                    hint="give one of them another name",
                )
            found[output.name] = output
    return tuple(found.values())


def _chosen(
    name: str, choice: OutputChoice, description: Description, raw: Raw
) -> tuple[Output, ...]:
    """Return the field of a key, or the fields of the best `top`."""
    several = "label" in raw and raw["label"].ndim == 2
    if choice.top is not None:
        if several or "probabilities" not in raw:
            raise _lacking(name, "the most probable classes", description, raw)
        return _ranked(name, choice, description)
    if several:
        return (refined(name, choice, at_column(name, choice.column, _several(description, raw))),)
    if choice.label and "label" in raw:
        label = _label(name, description, raw)
        if choice.threshold is None:
            return (refined(name, choice, label),)
        if len(label.own) != 2 or "probabilities" not in raw:
            raise _lacking(name, "a label of two classes by a threshold", description, raw)
        return (_by_threshold(name, choice, label),)
    if choice.class_ is not None and "probabilities" in raw:
        place = _place_of(name, choice.class_, description.classes or ())
        return (refined(name, choice, _probability(name, place, description)),)
    if choice.column is not None:
        tensor = "columns" if "columns" in raw else "prediction"
        fields = _columns(tensor, raw, ()) if tensor in raw else ()
        return (refined(name, choice, at_column(name, choice.column, fields)),)
    asked = "the label" if choice.label else f"the probability of '{choice.class_}'"
    raise _lacking(name, asked, description, raw)


def _lacking(name: str, asked: str, description: Description, raw: Raw) -> UsageError:
    classes = f"; its classes are: {_listed(description.classes)}" if description.classes else ""
    return UsageError(
        f"'outputs.{name}' asks for {asked}, which this {description.task} does not answer",
        hint=f"it answers: {', '.join(sorted(raw))}{classes}",
    )


def _listed(values: Any) -> str:
    return ", ".join(map(str, values[:40])) + (" …" if len(values) > 40 else "")


def _place_of(name: str, wanted: Value, classes: tuple[Value, ...]) -> int:
    exact = [i for i, c in enumerate(classes) if c == wanted and type(c) is type(wanted)]
    alike = [i for i, c in enumerate(classes) if str(c) == str(wanted)]
    if not exact and not alike:
        raise UsageError(
            f"'outputs.{name}.class' is '{wanted}', which is no class of the model",
            hint=f"its classes are: {_listed(classes)}",
        )
    return (exact or alike)[0]


def at_column(name: str, column: int | None, fields: tuple[Output, ...]) -> Output:
    """Return the field in this column under another name; raises UsageError where there is none."""
    if column is None or not 0 <= column < len(fields):
        what = "must choose a column" if column is None else f"asks for column {column}"
        raise UsageError(
            f"'outputs.{name}' {what} of the {len(fields)} that the model answers",
            hint="the columns are: " + ", ".join(f"{i} {f.name}" for i, f in enumerate(fields)),
        )
    return msgspec.structs.replace(fields[column], name=name)


def _by_threshold(name: str, choice: OutputChoice, label: Output) -> Output:
    """Return the label of two classes: the second where its probability reaches the threshold."""
    by = msgspec.structs.replace(
        label,
        tensor="probabilities",
        column=1,
        threshold=choice.threshold,
        of=label.own[1],
        given=label.own,
    )
    return _renamed(name, choice, by)


def refined(name: str, choice: OutputChoice, field: Output) -> Output:
    """Return a field with its threshold and under other names, where the choice has them."""
    if choice.threshold is not None:
        if field.type not in ("double", "long") or field.tensor == "label":
            raise UsageError(
                f"'outputs.{name}.threshold' needs a number to compare, and '{field.name}' is a label",
                hint="choose the class whose probability is meant",
            )
        field = msgspec.structs.replace(
            field,
            type="boolean",
            classes=(False, True),
            probability=False,
            threshold=choice.threshold,
            of=field.classes[0] if field.classes else None,
        )
    return _renamed(name, choice, field)


def _renamed(name: str, choice: OutputChoice, field: Output) -> Output:
    """Return a label under the names that the choice maps its classes to."""
    if choice.map is None:
        return field
    if not field.own or field.probability:
        raise UsageError(
            f"'outputs.{name}.map' gives classes other names, and this field answers none",
            hint="map a label, a threshold, or the best (top)",
        )
    keys = [str(c).lower() if isinstance(c, bool) else str(c) for c in field.own]
    missing = [key for key in keys if key not in choice.map]
    stray = [key for key in choice.map if key not in keys]
    if missing or stray:
        told = f"lacks '{missing[0]}'" if missing else f"has '{stray[0]}', which is no class"
        raise UsageError(
            f"'outputs.{name}.map' {told}", hint=f"it must name each of: {_listed(keys)}"
        )
    shown = tuple(choice.map[key] for key in keys)
    kinds: dict[type, Kind] = {str: "string", bool: "boolean", int: "long", float: "double"}
    given = field.own if field.tensor == "label" or field.given else None
    return msgspec.structs.replace(field, type=kinds[type(shown[0])], classes=shown, given=given)


def _ranked(name: str, choice: OutputChoice, description: Description) -> tuple[Output, ...]:
    """Return class and probability of each of the most probable."""
    classes, top = description.classes or (), choice.top or 1
    if top > len(classes):
        raise UsageError(
            f"'outputs.{name}.top' is {top}, but the model has {len(classes)} classes",
            hint=f"they are: {_listed(classes)}",
        )
    found: list[Output] = []
    for rank in range(1, top + 1):
        place = Output(name=f"{name}_{rank}", type="string", tensor="probabilities", rank=rank)
        label = msgspec.structs.replace(place, type=_kind_of(classes), classes=classes)
        found.append(_renamed(name, choice, label))
        probability = f"{name}_{rank}_probability"
        found.append(
            msgspec.structs.replace(place, name=probability, type="double", probability=True)
        )
    return tuple(found)


def _kind_of(classes: tuple[Value, ...]) -> Kind:
    kinds: dict[type, Kind] = {bool: "boolean", int: "long", float: "double"}
    return kinds.get(type(classes[0]), "string")
