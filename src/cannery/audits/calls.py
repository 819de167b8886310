"""What a pickle may call, and with which arguments: REDUCE and NEWOBJ."""

from __future__ import annotations

from collections.abc import Callable

from cannery.audits import arrays, arrow, everyday, lookups, tensors
from cannery.audits.arguments import Call
from cannery.audits.ledger import Ledger
from cannery.audits.values import (
    Dict,
    FrozenSet,
    List,
    Made,
    Name,
    Opaque,
    Partial,
    Set,
    Span,
    Tuple,
    Value,
    describe,
    head_of,
    size_of,
)

LISTS = frozenset({"collections.deque"})
"""Classes whose objects may be given items by APPEND(S)."""

MAPPINGS = frozenset(
    {
        "collections.Counter",
        "collections.OrderedDict",
        "collections.defaultdict",
        "scipy.optimize._optimize.OptimizeResult",
        "sklearn.utils._bunch.Bunch",
    }
)
"""Classes whose objects may be given items by SETITEM(S)."""


Rule = Callable[[Call], Value]


def call(ledger: Ledger, function: Value, arguments: Value, offset: int) -> Value:
    """Follow REDUCE: judge the function and its arguments, return what stands for the result."""
    known = type(arguments) is Tuple
    items = arguments.items if known else _no_tuple(ledger, function, arguments, offset)
    if type(function) is not Name:
        ledger.refer(arguments)
        message = f"{describe(function)} is called, not a global"
        ledger.find("computed-callable", "unsafe", message, offset=offset)
        return Made()
    if ledger.use(function, "function"):
        rule = RULES.get(function.canonical)
        if rule is None:
            rule = _unpickle_cython if ".__pyx_unpickle_" in function.canonical else Call.accept
        return rule(Call(ledger, function, items, offset))
    ledger.refer(arguments)
    return Made(function)


def make(ledger: Ledger, cls: Value, arguments: Value, offset: int) -> Value:
    """Follow NEWOBJ: judge the class, return what stands for the object."""
    known = type(arguments) is Tuple
    items = arguments.items if known else _no_tuple(ledger, cls, arguments, offset)
    ledger.refer(arguments)
    if type(cls) is not Name:
        message = f"{describe(cls)} is made an object of, not a global"
        ledger.find("computed-callable", "unsafe", message, offset=offset)
        return Made()
    if ledger.use(cls, "class") and items and not ledger.use(cls, "function"):
        Call(ledger, cls, items, offset).refuse("with arguments, which a class does not take here")
    if cls.canonical == "functools.partial":
        return Partial(cls, items[0] if items else None)
    made = Made(cls)
    ledger.made(made, offset)
    return made


def _no_tuple(ledger: Ledger, function: Value, arguments: Value, offset: int) -> tuple[Value, ...]:
    message = f"{describe(function)} is called with {describe(arguments)} instead of a tuple"
    ledger.find("odd-arguments", "unsafe", message, offset=offset)
    return ()


# Rules


def _class(c: Call, value: Value) -> bool:
    """Judge an argument that must be a class that may be made."""
    if not isinstance(value, Name):
        c.refuse(f"with {describe(value)} instead of a class")
        return False
    c.ledger.use(value, "class")
    return True


def _object(c: Call, cls: Name, state: Value = None) -> Made:
    """Return what stands for an object of a class, which is judged at the end."""
    made = Made(cls)
    made.state = state
    c.ledger.made(made, c.offset)
    return made


def _reconstructor(c: Call) -> Value:
    match c.items:
        case (cls, Name(canonical="builtins.object"), None) if _class(c, cls):
            return _object(c, cls)
        case (cls, Name(canonical="builtins.dict"), Dict()) if _class(c, cls):
            return _object(c, cls)
        case (cls, Name(canonical="builtins.tuple"), Tuple() as parts) if _class(c, cls):
            # A named tuple, in the protocols before 2: later ones hand its parts to the class.
            if cls.entry is None or c.ledger.use(cls, "function"):
                c.ledger.refer(parts)
                return _object(c, cls, parts)
    return c.refuse("with a base that is neither object nor dict")


def _newobj(c: Call) -> Value:
    if len(c.items) == 1 and _class(c, c.items[0]):
        return _object(c, c.items[0])
    return c.refuse("with more than a class")


def _unpickle_cython(c: Call) -> Value:
    match c.items:
        case (cls, int(), None | Tuple() as state) if _class(c, cls):
            c.ledger.refer(state)
            # What is more than the attributes of the class becomes its dictionary.
            if any(isinstance(part, Dict) for part in (state.items if state else ())):
                return c.refuse("with attributes")
            return _object(c, cls, state)
    return c.refuse("otherwise than Cython does")


def _new_of_class(c: Call) -> Value:
    if len(c.items) == 1 and _class(c, c.items[0]):
        return _object(c, c.items[0])
    return c.refuse("with something else than one class")


def _encode(c: Call) -> Value:
    match c.items:
        case (str() | Opaque() as text, "latin1" | "latin-1"):
            if isinstance(text, str):
                try:
                    return text.encode("latin-1")
                except UnicodeEncodeError:
                    return c.refuse("with text that is not Latin-1")
            if text.type is str:
                return Opaque(bytes, text.size, _latin(text), text.span)
    return c.refuse("with a codec other than Latin-1")


def _latin(text: str | Opaque) -> bytes:
    """Return the first bytes of a text that becomes bytes."""
    return head_of(text).decode("utf-8", "surrogatepass").encode("latin-1", "replace")


def _bytes(c: Call) -> Value:
    return b"" if not c.items else c.refuse("with arguments")


def _nothing(c: Call) -> Value:
    return Made(c.name) if not c.items else c.refuse("with arguments")


def _bytearray(c: Call) -> Value:
    match c.items:
        case ():
            return Opaque(bytearray, 0)
        case (data,) if (size := size_of(data)) is not None:
            span = data.span if isinstance(data, Opaque) else Span(bytes(data), 0, size)
            return Opaque(bytearray, size, head_of(data), span)
        case (str() as text, "latin-1" | "latin1"):
            span = Span(text.encode("latin-1", "replace"), 0, len(text))
            return Opaque(bytearray, len(text), _latin(text), span)
        case (Opaque(type=kind) as text, "latin-1" | "latin1") if kind is str:
            return Opaque(bytearray, text.size, _latin(text), text.span)
    return c.refuse("with something that is not bytes")


def _numbers(c: Call) -> Value:
    for item in c.items:
        if not (item is None or isinstance(item, int | float | Made)):
            return c.refuse(f"with {describe(item)}")
    return Made(c.name, c.items)


def _range(c: Call) -> Value:
    """Numbers that can be counted through."""
    for item in c.items:
        if isinstance(item, int) and abs(item) > _FAR:
            return c.refuse("with a number that nobody counts to")
    return _numbers(c)


_FAR = 1 << 31


def _slice(c: Call) -> Value:
    """Numbers, or the names of columns at which a slice of a data frame starts and ends."""
    for item in c.items:
        if not (item is None or isinstance(item, int | str | Made)):
            return c.refuse(f"with {describe(item)}")
    return Made(c.name, c.items)


def _container(c: Call) -> Value:
    match c.items:
        case () | (List() | Tuple() | Set() | FrozenSet() | Dict(),):
            for item in c.items:
                c.ledger.refer(item)
        case _:
            return c.refuse("with something that is no literal container")
    made: dict[str, Callable[[], Value]] = {
        "builtins.set": lambda: Set(c.items),
        "builtins.dict": lambda: _mapping(c.items),
        "builtins.list": lambda: List(_known(c.items)),
    }
    return made.get(c.name.canonical, lambda: Made(c.name, c.items))()


def _mapping(items: tuple[Value, ...]) -> Dict:
    """Return a dictionary of pairs that are not told apart."""
    made = Dict()
    made.keys += items
    return made


def _known(items: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the items of a literal container that becomes a list."""
    return tuple(items[0].items) if items and isinstance(items[0], List | Tuple) else ()


def _deque(c: Call) -> Value:
    match c.items:
        case () | (List() | Tuple(),) | (List() | Tuple(), int() | None):
            return c.accept()
    return c.refuse("with something else than a list and a length")


def _partial(c: Call) -> Value:
    if len(c.items) != 1:
        return c.refuse("with more than a function")
    function = c.items[0]
    if isinstance(function, Name):
        c.ledger.refer(function)
    elif not isinstance(function, Partial) and not _is_method(function):
        return c.refuse(f"on {describe(function)}")
    return Partial(c.name, function)


def _is_method(value: Value) -> bool:
    """Return whether a value was looked up in a class, which its own rule has judged."""
    return isinstance(value, Made) and value.canonical == "builtins.getattr"


def _defaultdict(c: Call) -> Value:
    match c.items:
        case () | (None | Name(),):
            return c.accept()
    return c.refuse("with a computed factory")


def _index(c: Call) -> Value:
    match c.items:
        case (Name() as cls, Dict()) if cls.canonical.startswith("pandas."):
            if cls.canonical.endswith("Index"):
                c.ledger.use(cls, "class")
                made = Made(c.name, c.items)
                c.ledger.made(made, c.offset)
                return made
    return c.refuse("with something else than an index and its parts")


def _type(c: Call) -> Value:
    return Made(c.name) if c.items == (None,) else c.refuse("with something else than None")


def _ufunc(c: Call) -> Value:
    match c.items:
        case (str() as module, str() as qualname):
            entry = c.ledger.listing.find(module, qualname)
            name = c.ledger.reach(module, qualname, c.offset, entry)
            c.ledger.use(name, "reference")
            return Made(c.name)
    return c.refuse("with a computed name")


BIT_GENERATORS = frozenset({"MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"})


def _bit_generator(c: Call) -> Value:
    match c.items:
        case () | (str(),) if not c.items or c.items[0] in BIT_GENERATORS:
            return Made(c.name)
        case (Name() as cls,) if cls.qualname in BIT_GENERATORS and _class(c, cls):
            return Made(c.name)
    return c.refuse("with something that is no bit generator of numpy")


def _generator(c: Call) -> Value:
    for item in c.items:
        if isinstance(item, Name):
            if item.canonical != "numpy.random._pickle.__bit_generator_ctor":
                return c.refuse(f"with {describe(item)}")
            c.ledger.use(item, "function")
        elif isinstance(item, str):
            if item not in BIT_GENERATORS:
                return c.refuse(f"with {item[:40]!r}, which is no bit generator of numpy")
        elif not isinstance(item, Made) or item.canonical not in _BIT_GENERATOR_MAKERS:
            return c.refuse(f"with {describe(item)}")
    return Made(c.name)


_BIT_GENERATOR_MAKERS = frozenset({"numpy.random._pickle.__bit_generator_ctor"})


RULES: dict[str, Rule] = {
    **arrow.RULES,
    **everyday.RULES,
    "_codecs.encode": _encode,
    "builtins.bytearray": _bytearray,
    "builtins.bytes": _bytes,
    "builtins.complex": _numbers,
    "builtins.dict": _container,
    "builtins.frozenset": _container,
    "builtins.getattr": lookups.attribute,
    "builtins.list": _container,
    "builtins.range": _range,
    "builtins.set": _container,
    "builtins.slice": _slice,
    "builtins.tuple": _container,
    "cloudpickle.cloudpickle._builtin_type": lookups.builtin,
    "collections.Counter": _container,
    "collections.OrderedDict": _container,
    "collections.defaultdict": _defaultdict,
    "collections.deque": _deque,
    "copyreg.__newobj__": _newobj,
    "copyreg._reconstructor": _reconstructor,
    "functools.partial": _partial,
    "numpy._core._internal._convert_to_stringdtype_kwargs": arrays.texts,
    "numpy._core._ufunc_reconstruct": _ufunc,
    "numpy._core.multiarray._reconstruct": arrays.reconstruct,
    "numpy._core.multiarray.scalar": arrays.scalar,
    "numpy._core.numeric._frombuffer": arrays.from_buffer,
    "numpy.dtype": arrays.dtype,
    "numpy.ma.core._mareconstruct": arrays.masked,
    "numpy.random._pickle.__bit_generator_ctor": _bit_generator,
    "numpy.random._pickle.__generator_ctor": _generator,
    "numpy.random._pickle.__randomstate_ctor": _generator,
    "numpy.ma.core.MaskedConstant": _nothing,
    "pandas.core.indexes.base._new_Index": _index,
    "pandas.core.indexes.datetimes._new_DatetimeIndex": _index,
    "pandas.core.indexes.interval._new_IntervalIndex": _index,
    "pandas.core.indexes.timedeltas._new_TimedeltaIndex": _index,
    "torch.Size": tensors.size,
    "torch._utils._rebuild_parameter": tensors.parameter,
    "torch._utils._rebuild_tensor_v2": tensors.rebuilt,
    "torch.device": tensors.device,
    "builtins.type": _type,
    "random.Random": _nothing,
    "types.MethodType": lookups.bound,
    "types.SimpleNamespace": _nothing,
    "zoneinfo.ZoneInfo._unpickle": lookups.zone,
}
"""By canonical name; a listed function without a rule takes any arguments."""

RULES["sklearn.metrics._dist_metrics.newObj"] = _new_of_class
for _module in ("_kd_tree", "_ball_tree"):
    RULES[f"sklearn.neighbors.{_module}.newObj"] = _new_of_class
