"""Rows of values that are like each other: what they have in common, what differs, and each of them made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cannery.audits.domains import Domain
from cannery.audits.opcodes import Data
from cannery.audits.repeats import acts, forms
from cannery.audits.repeats.acts import Making, Natives, Numbers, Values
from cannery.audits.repeats.forms import Found, Slots
from cannery.audits.repeats.outlines import Reading
from cannery.audits.repeats.parts import Part
from cannery.audits.values import Made, Name, Value
from cannery.bounds.trees import HOLDERS, TREE

_PATIENCE = 16


class Outline:
    """What the values of a row have in common."""

    __slots__ = (
        "_acts", "_agreements", "_compared", "_constants", "_remembered",
        "before", "entries", "judged", "name", "result", "root", "slots", "steps",
    )  # fmt: skip

    def __init__(self, reading: Reading, root: Part) -> None:
        self.root = root
        self.slots = slots = Slots()
        self._compared = tuple(forms.steps(reading, slots))
        self._agreements = forms.agreements(reading, slots)
        numbers = Numbers(reading, root, slots)
        self._constants = numbers.constants
        self._acts = list(acts.prepared(reading, numbers))
        self._remembered = acts.items(numbers.all(reading.memo))
        self.before = bool(reading.memo) and reading.memo[0].kind == "before"
        """Whether the value in front of each is remembered by it."""
        self.entries = len(reading.memo)
        """Of the memo."""
        self.result = numbers.of(root)
        """The number of the value itself."""
        self.steps = reading.opcodes
        watched = [act.part for act in reading.acts if act.at]
        self.judged = not self.before and _is_tree(root, watched)
        """Whether the values can be judged by what differs, before they are made."""
        self.name: Name | None = root.value.name if root.kind == "made" else None

    def compare(self, found: Found, at: int) -> int:
        """Return where the value ends that begins here, -1 where it is none of the row."""
        at = forms.compared(self._compared, found, at)
        if at < 0:
            return -1
        literals = found.literals
        for extent, start, end in self._agreements:
            if extent(literals) != literals[end] - (literals[start] if start >= 0 else 0):
                return -1
        return at

    def make(self, literals: list[int], domain: Domain, data: Data, making: Making) -> Values:
        """Return every value that the opcodes make; the bounds' go into `making`."""
        values = self._constants[:]
        for kind, _, slot in self.slots.literals:
            values += acts.LITERALS[kind](domain, data, literals, slot)
        making.places = iter([literals[slot] for slot in self.slots.places])
        for act in self._acts:
            act(values, making)
        return values

    def remembered(self, values: Values, before: Value = None) -> tuple[Any, ...]:
        """Return what the memo gets."""
        found = self._remembered(values)
        return (before, *found[1:]) if self.before else found


def _is_tree(root: Part, watched: list[Part]) -> bool:
    """Return whether a value is an estimator around one tree."""
    if root.kind != "made" or root.state is None or len(watched) != 2 or watched[0] is not root:
        return False
    inner = root.state.item("tree_")
    return (
        root.value.canonical.startswith(HOLDERS)
        and watched[1] is inner
        and inner.value.canonical == TREE
    )


class Row:
    """Values that are like each other, in their order."""

    __slots__ = ("_data", "_domain", "columns", "made", "member", "outline", "patience", "recalled")

    def __init__(self, outline: Outline, domain: Domain, data: Data, member: str) -> None:
        self.outline = outline
        self._domain = domain
        self._data = data
        self.member = member
        self.made: list[Repeated] = []
        """Those whose parts nobody has asked for yet."""
        self.patience = _PATIENCE
        """How often it may still be compared in vain: once more for every value that it has."""
        self.recalled = False
        """Whether a part of one was used behind it."""
        self.columns: int | None = None
        """Of the trees, once all were judged by what differs."""

    def add(self, literals: list[int]) -> Repeated:
        """Return the next value."""
        made = Repeated(self, literals)
        self.made.append(made)
        return made

    def make(self, literals: list[int], natives: Natives, root: Made | None = None) -> Values:
        """Return every value that the opcodes of one make; what the bounds judge goes to `natives`."""
        making = Making(natives, self.member, root)
        return self.outline.make(literals, self._domain, self._data, making)

    def bytes_of(self, part: Part) -> Iterator[bytes]:
        """Yield the bytes of a literal that differs, of each value."""
        slot = self.outline.slots.of(part.parts[0] if part.kind == "encoded" else part)
        assert slot is not None, "what is asked for differs"
        for made in self.made:
            found = self._data[made.literals[slot] : made.literals[slot + 1]]
            yield found if part.kind != "encoded" else found.decode().encode("latin-1")


class Repeated(Made):
    """An object of a row, whose parts are made when somebody asks for them."""

    __slots__ = ("_arguments", "_built", "_natives", "_state", "_values", "literals", "row")

    def __init__(self, row: Row, literals: list[int]) -> None:
        self.name = row.outline.name
        self.canonical = self.name.canonical if self.name else ""
        self.row = row
        self.literals = literals
        self._values: Values | None = None
        self._natives: Natives = {}

    def whole(self) -> Values:
        """Return every value that its opcodes make."""
        if self._values is None:
            self._values = self.row.make(self.literals, self._natives, self)
        return self._values

    @property
    def natives(self) -> Natives:
        """Return what the bounds judge of it."""
        self.whole()
        return self._natives

    def remembered(self, index: int) -> Any:
        """Return an entry of the memo, counted from its first."""
        return self.row.outline.remembered(self.whole())[index]

    @property
    def arguments(self) -> tuple[Value, ...]:
        """Return what it was made with."""
        self.whole()
        return self._arguments

    @arguments.setter
    def arguments(self, arguments: tuple[Value, ...]) -> None:
        self._arguments = arguments

    @property
    def state(self) -> Value:
        """Return its state."""
        self.whole()
        return self._state

    @state.setter
    def state(self, state: Value) -> None:
        self._state = state

    @property
    def built(self) -> bool:
        """Return whether it has a state, which it has."""
        self.whole()
        return self._built

    @built.setter
    def built(self, built: bool) -> None:
        self._built = built
