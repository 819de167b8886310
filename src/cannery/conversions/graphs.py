"""An ONNX graph given as such: nothing is opened and nothing converted, only its interface is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import onnx
import pyarrow as pa

from cannery.cans.manifest import Feed
from cannery.conversions.canaries import canary_of
from cannery.conversions.nouns import Artifact, Column, Conversion
from cannery.conversions.options import ConvertOptions
from cannery.conversions.outputs import at_column, chosen_of, refined
from cannery.conversions.samples import batch_of, nulls, pick, with_cell
from cannery.conversions.schemas import features_of, with_ranges
from cannery.conversions.zipmaps import Labels, maps_as_tensors
from cannery.errors import ConversionError, ProofError, SchemaError, UsageError
from cannery.serving.scorer import OnnxScorer, onnx_scorer
from cannery.serving.weights import laid_out
from cannery.settings import OutputChoice
from cannery.signatures import Batch, Feature, Kind, Output, Raw, Signature
from cannery.sources.source import Source

_LIMIT = 2 << 30
_Dtype = Literal["float64", "float32", "int64", "bool", "string"]
_TYPES: dict[int, tuple[_Dtype, Kind]] = {
    onnx.TensorProto.DOUBLE: ("float64", "double"),
    onnx.TensorProto.FLOAT: ("float32", "double"),
    onnx.TensorProto.INT64: ("int64", "long"),
    onnx.TensorProto.BOOL: ("bool", "boolean"),
    onnx.TensorProto.STRING: ("string", "string"),
}


class _Input(msgspec.Struct, frozen=True, kw_only=True):
    """An input of the graph: how many columns it takes, and as what."""

    name: str
    dtype: _Dtype
    kind: Kind
    rank: Literal[1, 2]
    width: int | None
    """None: as many as there are."""


def convert_graph(
    source: Source, *, sample: pa.Table | None, options: ConvertOptions
) -> Conversion:
    """Return a graph that was cleared by its audit, with a signature and a canary from the sample.

    Raises ConversionError for inputs or outputs that records can't fill or show, and when there is
    no sample to make a canary of.
    """
    if options.runtime not in (None, "onnx"):
        raise UsageError(
            f"an ONNX file runs as ONNX, not as '{options.runtime}'", hint="leave --runtime out"
        )
    if sample is None:
        raise ConversionError(
            "an ONNX file says nothing of the values that it expects",
            hint="pass rows such as it will see: --sample FILE (CSV, JSONL or Parquet)",
        )
    data = source.blob.read(_LIMIT)
    model = _parsed(data)
    graph, labels = model.graph, maps_as_tensors(model)
    if labels:
        data = model.SerializeToString(deterministic=True)
    inputs = _inputs(graph)
    features = _typed(inputs, _features(inputs, source.features, sample))
    feeds = _feeds(inputs, features)
    features = with_ranges(features, sample)
    batch = batch_of(sample, features)
    whole = ~nulls(batch, features).any(axis=1)
    batch = pick(batch.take(np.flatnonzero(whole)), options.sample_cap, options.seed)
    if not len(batch):
        raise ConversionError("the sample has no row without a null")
    names = _outputs(graph)
    scorer = onnx_scorer(data, Signature(features=features, outputs=()), feeds, outputs=names)
    raw = _asked(scorer, batch)
    signature = Signature(
        features=_nullable(scorer, batch, features, source.features),
        outputs=_fields(raw, labels, options),
    )
    return Conversion(
        artifact=Artifact(runtime="onnx", name="model.onnx", data=laid_out(data), feeds=feeds),
        task="graph",
        signature=signature,
        canary=canary_of(batch, raw, signature, tolerance=options.tolerance),
        parity=None,
        description=None,
        sandbox="none",
        notes=(),
    )


def _parsed(data: bytes) -> Any:
    try:
        return onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own classes differ between its versions
        raise ConversionError(f"the ONNX file can't be read: {error}") from error


def _dims(value: Any) -> list[int | None]:
    """Return the sizes of a tensor's axes; None where a size is open."""
    return [d.dim_value or None for d in value.type.tensor_type.shape.dim]


def _inputs(graph: Any) -> tuple[_Input, ...]:
    constants = {i.name for i in graph.initializer}
    found: list[_Input] = []
    for value in (i for i in graph.input if i.name not in constants):
        element = value.type.tensor_type.elem_type
        dims = _dims(value)
        if element not in _TYPES or len(dims) not in (1, 2):
            shape = [d if d is not None else "?" for d in dims]
            raise ConversionError(
                f"the input '{value.name}' takes type {element} of the shape {shape}, which records can't fill",
                hint="inputs of [rows] or [rows, columns] of double, float, int64, bool or string are served",
            )
        dtype, kind = _TYPES[element]
        width = 1 if len(dims) == 1 else dims[1]
        found.append(
            _Input(
                name=value.name,
                dtype=dtype,
                kind=kind,
                rank=1 if len(dims) == 1 else 2,
                width=width,
            )
        )
    if len(found) > 1 and any(i.width is None for i in found):
        raise ConversionError("the graph has several inputs and does not say how wide they are")
    return tuple(found)


def _features(
    inputs: Sequence[_Input], recorded: tuple[Feature, ...] | None, sample: pa.Table
) -> tuple[Feature, ...]:
    single = all(i.width == 1 for i in inputs)
    if any(i.width is None for i in inputs):
        return features_of((), named=False, recorded=recorded, sample=sample)
    names = [
        i.name if i.width == 1 else f"{i.name}_{n}" for i in inputs for n in range(i.width or 0)
    ]
    columns = tuple(Column(name=name) for name in names)
    return features_of(columns, named=single, recorded=recorded, sample=sample)


def _typed(inputs: Sequence[_Input], features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Return the features in the types of the inputs that they fill; raises SchemaError where they can't."""
    if len(inputs) == 1 and inputs[0].width is None:
        owners = [inputs[0]] * len(features)
    else:
        owners = [i for i in inputs for _ in range(i.width or 0)]
    typed: list[Feature] = []
    for owner, feature in zip(owners, features, strict=True):
        if (owner.kind == "string") != (feature.type == "string"):
            raise SchemaError(
                f"the input '{owner.name}' takes {owner.dtype}, but the column '{feature.name}' is {feature.type}"
            )
        # A float input takes whole numbers and booleans too, in the sample's own type.
        kind = feature.type if owner.kind == "double" else owner.kind
        typed.append(msgspec.structs.replace(feature, type=kind, nullable=False))
    return tuple(typed)


def _feeds(inputs: Sequence[_Input], features: tuple[Feature, ...]) -> tuple[Feed, ...]:
    feeds: list[Feed] = []
    start = 0
    for one in inputs:
        width = one.width if one.width is not None else len(features)
        names = tuple(f.name for f in features[start : start + width])
        feeds.append(Feed(input=one.name, dtype=one.dtype, features=names, rank=one.rank))
        start += width
    return tuple(feeds)


def _outputs(graph: Any) -> tuple[str, ...]:
    for value in graph.output:
        if value.type.WhichOneof("value") != "tensor_type":
            raise ConversionError(
                f"the output '{value.name}' is not a tensor but a {value.type.WhichOneof('value')}",
                hint="export the model anew, so that it answers tensors",
            )
    return tuple(value.name for value in graph.output)


def _asked(scorer: OnnxScorer, batch: Batch) -> Raw:
    try:
        raw = scorer.score(batch)
    except (ProofError, SchemaError) as error:
        raise ConversionError(f"the graph does not take the sample: {error.message}") from error
    for name, values in raw.items():
        if values.ndim not in (1, 2) or len(values) != len(batch):
            raise ConversionError(
                f"the output '{name}' has the shape {list(values.shape)} for {len(batch)} rows: not one answer a row"
            )
    return raw


def _fields(raw: Raw, labels: Labels, options: ConvertOptions) -> tuple[Output, ...]:
    """Return a field for each output, or for each column of it, or those that `[outputs]` names."""
    fields: list[Output] = []
    for name, values in raw.items():
        kinds: dict[str, Kind] = {"b": "boolean", "i": "long", "u": "long", "f": "double"}
        kind = kinds.get(values.dtype.kind, "string")
        width = math.prod(values.shape[1:])
        if values.ndim == 1:
            fields.append(Output(name=name, type=kind, tensor=name))
        else:
            keys = labels.get(name, range(width))
            fields += [
                Output(name=name if width == 1 else f"{name}_{k}", type=kind, tensor=name, column=i)
                for i, k in enumerate(keys)
            ]
    if not options.outputs:
        return tuple(fields)
    return chosen_of(options.outputs, lambda name, choice: _chosen(name, choice, tuple(fields)))


def _chosen(name: str, choice: OutputChoice, fields: tuple[Output, ...]) -> tuple[Output, ...]:
    """Return the column of the graph's answer that is chosen: a graph knows of no classes."""
    return (refined(name, choice, at_column(name, choice.column, fields)),)


def _nullable(
    scorer: OnnxScorer,
    batch: Batch,
    features: tuple[Feature, ...],
    recorded: tuple[Feature, ...] | None,
) -> tuple[Feature, ...]:
    """Return the features with `nullable` kept where it was recorded, and the graph answers finitely."""
    optional = {f.name for f in recorded or () if f.nullable}
    row = batch.take(slice(0, 1))
    learned: list[Feature] = []
    for index, feature in enumerate(features):
        nullable = False
        if feature.name in optional and feature.type == "double":
            nullable = _finite(scorer, with_cell(row, features, index, [math.nan]))
        learned.append(msgspec.structs.replace(feature, nullable=nullable))
    return tuple(learned)


def _finite(scorer: OnnxScorer, row: Batch) -> bool:
    try:
        raw = scorer.score(row)
    except (ProofError, SchemaError):
        return False
    return all(v.dtype.kind != "f" or bool((abs(v) < math.inf).all()) for v in raw.values())
