"""Tensors of torch in a checkpoint: views of storages, whose bytes stand beside the pickle.

A tensor must lie within its storage, and a storage must have the size of its bytes.
"""

from __future__ import annotations

from cannery.audits.arguments import Call
from cannery.audits.arrays import elements
from cannery.audits.values import Made, Name, Tuple, Value

WIDTHS = {
    "BFloat16Storage": 2, "BoolStorage": 1, "ByteStorage": 1, "CharStorage": 1,
    "ComplexDoubleStorage": 16, "ComplexFloatStorage": 8, "DoubleStorage": 8, "FloatStorage": 4,
    "HalfStorage": 2, "IntStorage": 4, "LongStorage": 8, "QInt32Storage": 4, "QInt8Storage": 1,
    "QUInt2x4Storage": 1, "QUInt4x2Storage": 1, "QUInt8Storage": 1, "ShortStorage": 2,
}  # fmt: skip
"""Class of a storage → bytes of one item."""
_LARGEST = 1 << 50


class Storage(Made):
    """A storage, which a persistent id stands for."""

    __slots__ = ("count", "key", "width")

    def __init__(self, name: Name, key: str, count: int) -> None:
        super().__init__(name)
        self.key = key
        self.count = count
        self.width = WIDTHS[name.qualname]

    @property
    def size(self) -> int:
        """Return how many bytes it has."""
        return self.count * self.width


def storage(value: Value) -> Storage | None:
    """Return what the persistent id of a checkpoint stands for, None for what torch does not write.

    `("storage", FloatStorage, key, location, count)`; one form has a view behind it, which is None.
    """
    match value:
        case Tuple(items=("storage", Name() as cls, str() as key, str(), int() as count, *rest)):
            known = cls.entry is not None and cls.entry.table == "torch" and cls.qualname in WIDTHS
            if known and key.isdigit() and 0 <= count < _LARGEST and rest in ([], [None]):
                return Storage(cls, key, count)
    return None


def rebuilt(c: Call) -> Value:
    """Judge `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`."""
    match c.items:
        case (
            Storage() as held,
            int() as offset,
            Tuple() as size,
            Tuple() as stride,
            bool(),
            *rest,
        ):
            shape, steps = elements(size), elements(stride)
            if shape is None or steps is None or len(size.items) != len(stride.items):
                return c.refuse("with an impossible shape")
            pairs = zip(size.items, stride.items, strict=True)
            last = offset + sum((n - 1) * step for n, step in pairs)
            if offset < 0 or (shape and last >= held.count):
                return c.refuse("with a shape that does not lie within its storage")
            if len(rest) in (1, 2) and _without_hooks(rest[0]):
                return Made(c.name)
    return c.refuse("otherwise than torch does")


def parameter(c: Call) -> Value:
    """Judge `_rebuild_parameter(tensor, requires_grad, hooks)`."""
    match c.items:
        case (Made() as tensor, bool(), hooks) if _without_hooks(hooks):
            if tensor.canonical == "torch._utils._rebuild_tensor_v2":
                return Made(c.name)
    return c.refuse("otherwise than torch does")


def _without_hooks(hooks: Value) -> bool:
    return hooks is None or (
        isinstance(hooks, Made) and hooks.canonical == "collections.OrderedDict"
    )


def size(c: Call) -> Value:
    """Judge `torch.Size((2, 3))`."""
    match c.items:
        case (Tuple() as shape,) if elements(shape) is not None:
            return Made(c.name)
    return c.refuse("with something that is no shape")


def device(c: Call) -> Value:
    """Judge `torch.device("cuda", 0)`."""
    match c.items:
        case (str(),) | (str(), int()):
            return Made(c.name)
    return c.refuse("with something that is no device")
