"""The abstract machine: follows a pickle program as the unpickler would, and makes nothing.

It keeps the unpickler's stack, marks, memo and frames, with placeholders instead of objects, and so
knows of every call which function it would reach with which arguments. It fails closed: what CPython's
own pickler never writes is refused, even where it would be harmless.
"""

from __future__ import annotations

from collections.abc import Callable

from cannery.audits import calls, states
from cannery.audits.ledger import Ledger
from cannery.audits.listing import modern
from cannery.audits.opcodes import (  # fmt: skip
    FORBIDDEN,
    OPCODES,
    BrokenProgramError,
    Data,
    Opcode,
    skip_padding,
)
from cannery.audits.states import Raw
from cannery.audits.values import (
    Dict,
    FrozenSet,
    List,
    Made,
    Set,
    Tuple,
    Value,
    describe,
)

_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_POPS = frozenset({"POP", "POP_MARK"})
_HIGHEST = 5
_FRAME_MINIMUM = 4


class Machine:
    """One run over one program; `run` returns where the program ends."""

    def __init__(self, data: Data, at: int, ledger: Ledger, *, arrays: bool = False) -> None:
        self.data = data
        self.at = at
        self.ledger = ledger
        self.arrays = arrays
        """Whether raw array bytes follow joblib's array wrappers."""
        self.offset = at
        """Where the opcode at hand stands."""
        self.protocol = 0
        self.frame: int | None = None
        """Where the open frame ends."""
        self.stack: list[Value] = []
        self.below: list[list[Value]] = []
        """The stacks underneath the open marks."""
        self.memo: dict[int, Value] = {}
        self.result: Value = None

    def run(self) -> int | None:
        """Follow the program to its STOP; None when it can't be followed (the ledger says why)."""
        start = self.at
        previous = ""
        limits = self.ledger.limits
        try:
            while True:
                self.offset = self.at
                opcode = self._fetch()
                if previous in _POPS and opcode.name not in _POPS and opcode.name not in _GETS:
                    self._refuse("stray-pop", "a value is thrown away as no pickler does")
                value, self.at = opcode.read(self.data, self.at, limits)
                if opcode.name == "PROTO":
                    self._proto(value, first=self.offset == start)
                elif opcode.protocol > self.protocol and opcode.protocol > 1:
                    self._refuse(
                        "protocol-mismatch",
                        f"{opcode.name} does not belong to protocol {self.protocol}",
                    )
                if opcode.name == "STOP":
                    self._stop()
                    return self.at
                _HANDLERS[opcode.name](self, value)
                if self.frame is not None:
                    self._check_frame()
                previous = opcode.name
        except BrokenProgramError as broken:
            self.ledger.find(broken.rule, broken.severity, broken.message, offset=self.offset)
            return None

    def _fetch(self) -> Opcode:
        self.ledger.opcodes += 1
        if self.ledger.opcodes > self.ledger.limits.opcodes:
            raise BrokenProgramError("too-long", f"more than {self.ledger.opcodes - 1} opcodes")
        if self.at >= len(self.data):
            raise BrokenProgramError("truncated", "the file ends before the pickle does")
        code = self.data[self.at]
        self.at += 1
        opcode = OPCODES[code]
        if opcode is None:
            raise BrokenProgramError("unknown-opcode", f"byte 0x{code:02x} is not an opcode")
        if opcode.name in FORBIDDEN:
            raise BrokenProgramError("forbidden-opcode", FORBIDDEN[opcode.name], unsafe=True)
        return opcode

    def _refuse(self, rule: str, message: str) -> None:
        self.ledger.find(rule, "unsafe", message, offset=self.offset)

    # Frames, protocol, the end

    def _proto(self, value: int, *, first: bool) -> None:
        if not first:
            self._refuse("stray-proto", "the protocol is declared in the middle of the program")
        if not 2 <= value <= _HIGHEST:
            raise BrokenProgramError("unknown-protocol", f"pickle protocol {value}")
        self.protocol = value

    def _frame(self, size: int) -> None:
        if self.frame is not None:
            raise BrokenProgramError("nested-frame", "a frame opens inside a frame", unsafe=True)
        if size > len(self.data) - self.at:
            raise BrokenProgramError("truncated", f"a frame of {size} bytes runs past the end")
        if size < _FRAME_MINIMUM:
            self._refuse("odd-frame", f"a frame of {size} bytes, which no pickler writes")
        self.frame = self.at + size

    def _check_frame(self) -> None:
        assert self.frame is not None
        if self.at == self.frame:
            self.frame = None
        elif self.at > self.frame:
            raise BrokenProgramError(
                "straddled-frame", "an opcode reaches over the end of its frame", unsafe=True
            )

    def _stop(self) -> None:
        if not self.stack:
            raise BrokenProgramError("empty-stack", "the program ends with nothing made")
        self.result = self.stack.pop()
        self.ledger.refer(self.result)
        if self.stack or self.below:
            self._refuse("leftover-stack", "the program ends with values left on the stack")
        if self.frame is not None and self.at != self.frame:
            self._refuse("straddled-frame", "the program ends before its frame does")

    # Stack and memo

    def _pop(self) -> Value:
        if not self.stack:
            raise BrokenProgramError("empty-stack", "a value is taken from an empty stack")
        return self.stack.pop()

    def _top(self) -> Value:
        if not self.stack:
            raise BrokenProgramError("empty-stack", "a value is looked for on an empty stack")
        return self.stack[-1]

    def _push(self, value: Value) -> None:
        self.stack.append(value)

    def _mark(self, _: Value) -> None:
        if len(self.below) >= self.ledger.limits.depth:
            raise BrokenProgramError("too-deep", f"more than {len(self.below)} open marks")
        self.below.append(self.stack)
        self.stack = []

    def _marked(self) -> list[Value]:
        if not self.below:
            raise BrokenProgramError("no-mark", "values are gathered without a mark")
        items = self.stack
        self.stack = self.below.pop()
        return items

    def _discard(self, _: Value) -> None:
        # The unpickler's POP takes the mark when the mark is on top.
        if self.stack:
            self.stack.pop()
        else:
            self._marked()

    def _discard_marked(self, _: Value) -> None:
        self._marked()

    def _put(self, index: int) -> None:
        if index in self.memo:
            raise BrokenProgramError(
                "memo-overwrite", f"memo entry {index} is written twice", unsafe=True
            )
        if len(self.memo) >= self.ledger.limits.memo:
            raise BrokenProgramError("too-long", f"more than {len(self.memo)} memo entries")
        self.memo[index] = self._top()

    def _get(self, index: int) -> None:
        if index not in self.memo:
            raise BrokenProgramError("no-memo", f"memo entry {index} is read before it is written")
        self.stack.append(self.memo[index])

    # Containers

    def _new_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise BrokenProgramError("empty-stack", f"a tuple of {size} from a shorter stack")
        items = tuple(self.stack[-size:])
        del self.stack[-size:]
        self.stack.append(Tuple(items))

    def _append(self, items: list[Value]) -> None:
        target = self._top()
        if isinstance(target, List):
            target.count += len(items)
        else:
            self._check_target(target, calls.LISTS, "APPEND")
        for item in items:
            self.ledger.refer(item)

    def _set_items(self, items: list[Value]) -> None:
        target = self._top()
        if len(items) % 2:
            raise BrokenProgramError("odd-items", "a dictionary gets a key without a value")
        if not isinstance(target, Dict):
            self._check_target(target, calls.MAPPINGS, "SETITEM")
        elif target.sealed:
            self._refuse("late-state", "the state of an object is changed after it was set")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.ledger.refer(key)
            self.ledger.refer(value)
            if isinstance(target, Dict):
                target.count += 1
                if isinstance(key, str):
                    if key in target.items:
                        self._refuse("duplicate-key", f"key {key[:80]!r} is set twice")
                    target.items[key] = value

    def _check_target(self, target: Value, allowed: frozenset[str], what: str) -> None:
        # An unlisted class is up for review as a whole, so its own methods are too.
        if isinstance(target, Made) and (target.canonical in allowed or not target.listed):
            return
        self._refuse("foreign-items", f"{what} onto {describe(target)}")

    def _add_items(self, items: list[Value]) -> None:
        target = self._top()
        if not isinstance(target, Set):
            self._check_target(target, frozenset(), "ADDITEMS")
        for item in items:
            self.ledger.refer(item)

    def _new_list(self, items: list[Value]) -> None:
        self.stack.append(List())
        self._append(items)

    def _new_dict(self, items: list[Value]) -> None:
        self.stack.append(Dict())
        self._set_items(items)

    # Globals, calls, states

    def _global(self, module: Value, qualname: Value) -> None:
        if not isinstance(module, str) or not isinstance(qualname, str):
            self._refuse("computed-name", "a global's name is not a literal string")
            self.stack.append(Made())
            return
        actual = modern(module, qualname) if self.protocol < 3 else (module, qualname)
        if "." in qualname and self.protocol < 4:
            self._refuse("dotted-name", f"a dotted name, '{qualname[:80]}', before protocol 4")
        entry = self.ledger.listing.find(*actual)
        name = self.ledger.reach(module, qualname, self.offset, entry, actual=actual)
        self.stack.append(name)

    def _stack_global(self, _: Value) -> None:
        qualname, module = self._pop(), self._pop()
        self._global(module, qualname)

    def _reduce(self, _: Value) -> None:
        arguments, function = self._pop(), self._pop()
        self.stack.append(calls.call(self.ledger, function, arguments, self.offset))

    def _new_object(self, _: Value) -> None:
        arguments, cls = self._pop(), self._pop()
        self.stack.append(calls.make(self.ledger, cls, arguments, self.offset))

    def _new_object_ex(self, _: Value) -> None:
        keywords, arguments, cls = self._pop(), self._pop(), self._pop()
        if not isinstance(keywords, Dict) or keywords.count:
            self._refuse("argument-rule", f"{describe(cls)} is made with keyword arguments")
        self.stack.append(calls.make(self.ledger, cls, arguments, self.offset))

    def _build(self, _: Value) -> None:
        state = self._pop()
        raw = states.build(self.ledger, self._top(), state, self.offset)
        if raw is not None:
            self._skip(raw)

    # joblib's arrays

    def _skip(self, raw: Raw) -> None:
        """Step over the bytes of an array that joblib writes after its wrapper."""
        if not self.arrays:
            raise BrokenProgramError(
                "format-disagrees",
                "a plain pickle holds an array wrapper of joblib: unpicklers would differ on it",
                unsafe=True,
            )
        if self.frame is not None and self.at != self.frame:
            raise BrokenProgramError(
                "straddled-frame", "array bytes begin inside a frame", unsafe=True
            )
        self.frame = None
        self.stack[-1] = Made(raw.name)
        if raw.size is None:
            self._nested()
            return
        at = skip_padding(self.data, self.at, raw.alignment)
        if raw.size > len(self.data) - at:
            raise BrokenProgramError(
                "truncated", f"an array of {raw.size} bytes runs past the end of the file"
            )
        self.at = at + raw.size

    def _nested(self) -> None:
        ledger = self.ledger
        if ledger.depth >= 100:
            raise BrokenProgramError("too-deep", "pickles nested more than 100 deep")
        ledger.depth += 1
        end = Machine(self.data, self.at, ledger, arrays=False).run()
        ledger.depth -= 1
        if end is None:
            raise BrokenProgramError("nested-pickle", "the pickle of an object array is broken")
        self.at = end


_Handler = Callable[[Machine, Value], None]

_push: _Handler = Machine._push

_HANDLERS: dict[str, _Handler] = {
    "PROTO": lambda machine, value: None,
    "FRAME": Machine._frame,
    "MARK": Machine._mark,
    "POP": Machine._discard,
    "POP_MARK": Machine._discard_marked,
    **dict.fromkeys(
        [
            "FLOAT",
            "INT",
            "BININT",
            "BININT1",
            "LONG",
            "BININT2",
            "STRING",
            "BINSTRING",
            "SHORT_BINSTRING",
            "UNICODE",
            "BINUNICODE",
            "BINFLOAT",
            "LONG1",
            "LONG4",
            "BINBYTES",
            "SHORT_BINBYTES",
            "SHORT_BINUNICODE",
            "BINUNICODE8",
            "BINBYTES8",
            "BYTEARRAY8",
            "NONE",
        ],
        _push,
    ),
    "NEWTRUE": lambda machine, _: machine._push(True),
    "NEWFALSE": lambda machine, _: machine._push(False),
    "EMPTY_TUPLE": lambda machine, _: machine._push(Tuple(())),
    "TUPLE": lambda machine, _: machine._push(Tuple(tuple(machine._marked()))),
    "TUPLE1": lambda machine, _: machine._new_tuple(1),
    "TUPLE2": lambda machine, _: machine._new_tuple(2),
    "TUPLE3": lambda machine, _: machine._new_tuple(3),
    "EMPTY_LIST": lambda machine, _: machine._push(List()),
    "LIST": lambda machine, _: machine._new_list(machine._marked()),
    "APPEND": lambda machine, _: machine._append([machine._pop()]),
    "APPENDS": lambda machine, _: machine._append(machine._marked()),
    "EMPTY_DICT": lambda machine, _: machine._push(Dict()),
    "DICT": lambda machine, _: machine._new_dict(machine._marked()),
    "SETITEM": lambda machine, _: machine._set_items([machine._pop(), machine._pop()][::-1]),
    "SETITEMS": lambda machine, _: machine._set_items(machine._marked()),
    "EMPTY_SET": lambda machine, _: machine._push(Set()),
    "ADDITEMS": lambda machine, _: machine._add_items(machine._marked()),
    "FROZENSET": lambda machine, _: machine._push(FrozenSet(tuple(machine._marked()))),
    "PUT": Machine._put,
    "BINPUT": Machine._put,
    "LONG_BINPUT": Machine._put,
    "MEMOIZE": lambda machine, _: machine._put(len(machine.memo)),
    "GET": Machine._get,
    "BINGET": Machine._get,
    "LONG_BINGET": Machine._get,
    "GLOBAL": lambda machine, names: machine._global(*names),
    "STACK_GLOBAL": Machine._stack_global,
    "REDUCE": Machine._reduce,
    "NEWOBJ": Machine._new_object,
    "NEWOBJ_EX": Machine._new_object_ex,
    "BUILD": Machine._build,
}
