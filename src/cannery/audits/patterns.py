"""Regular expressions of a file: whether one takes more than the square of a text's length.

A backtracking matcher tries every way in which a pattern can go along a text. So a pattern is read as
an automaton of its characters (V. M. Glushkov, 1961), and is slow where the same characters lead from a
place in it back to that place in two ways, or where several repetitions could take them: the ways along
them grow as in A. Weber and H. Seidl, On the degree of ambiguity of finite automata (1991).
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import combinations, product, takewhile
from typing import Any

from cannery.audits.ledger import Ledger, remedy_for
from cannery.audits.values import Value, describe

LONGEST = 2_000
"""Characters of a pattern that are read."""
_REMEDY = (
    r"train with a pattern whose repetitions can't take the same characters, as '(?u)\b\w\w+\b'; "
    "or, if you trust what the model will read: "
)

_MOST = 200
"""Characters that a pattern may stand for; what is repeated more often counts as repeated for ever."""
_CHOICES = 8
"""Places without repetition where the way ahead may be open."""
_PAIRS = 500
"""Pairs of places that are looked at."""
_TRIPLES = 1 << 16
"""Three places that are looked at together."""
_WIDE = 1 << 17
"""Characters of a range that may be compared without regard to case, which compiles one by one."""

_parser: Any = import_module("re._parser")  # the parser of `re` itself, which has no public name
_SAMPLE = frozenset(map(chr, range(128))) | frozenset(" éßİ中٣\u2003😀")
"""Stands for all characters, beside those that a pattern names."""


class _SlowError(Exception):
    """A pattern may take for ever; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A part of a pattern: with which places it begins and ends, each with its number of ways."""

    first: Counter[int] = field(default_factory=Counter)
    last: Counter[int] = field(default_factory=Counter)
    empty: int = 1
    """Ways in which it matches nothing."""


_NOTHING = _Part()


class _Automaton:
    """Places of a pattern, each one character, and which can follow which in how many ways."""

    def __init__(self, sample: frozenset[str]) -> None:
        self.sample = sample
        self.places: list[frozenset[str]] = []
        self.follow: dict[int, Counter[int]] = {}
        self.apart: list[Any] = []
        """What is looked ahead or behind for."""
        self.edge = 0
        """How many places stand before the last thing that must hold and takes no character."""

    def sequence(self, parts: Iterable[_Part]) -> _Part:
        whole = _NOTHING
        for part in parts:
            for place, ways in whole.last.items():
                self._join(place, part.first, ways)
            whole = _Part(
                first=whole.first + _times(part.first, whole.empty),
                last=part.last + _times(whole.last, part.empty),
                empty=min(whole.empty * part.empty, 2),
            )
        return whole

    def _join(self, place: int, first: Counter[int], ways: int) -> None:
        for following, more in first.items():
            count = self.follow[place]
            count[following] = min(count[following] + ways * more, 2)

    def place(self, characters: frozenset[str]) -> _Part:
        if len(self.places) >= 2 * _MOST:
            raise _SlowError("it stands for too many characters")
        number = len(self.places)
        self.places.append(characters)
        self.follow[number] = Counter()
        return _Part(first=Counter([number]), last=Counter([number]), empty=0)

    def read(self, items: Any, flags: int) -> _Part:
        return self.sequence(self._one(code, value, flags) for code, value in items)

    def _one(self, code: Any, value: Any, flags: int) -> _Part:
        match str(code):
            case "AT":
                self.edge = len(self.places)
                return _NOTHING
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                return self.place(_characters(str(code), value, flags, self.sample))
            case "SUBPATTERN":
                _, more, less, inside = value
                return self.read(inside, (flags | more) & ~less)
            case "ATOMIC_GROUP":
                return self.read(value, flags)
            case "BRANCH":
                return _either([self.read(inner, flags) for inner in value[1]])
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, inner = value
                return self._repeat(least, most, self._reader(inner, flags))
            case "ASSERT" | "ASSERT_NOT":
                self.apart.append((value[1], flags))
                self.edge = len(self.places)
                return _NOTHING
        raise _SlowError(f"it has what is not followed here ({str(code).lower()})")

    def _reader(self, inner: Any, flags: int) -> Callable[[], _Part]:
        return lambda: self.read(inner, flags)

    def _repeat(self, least: int, most: int, read: Callable[[], _Part]) -> _Part:
        start = len(self.places)
        once = read()
        if most <= 1:
            return _Part(first=once.first, last=once.last, empty=max(once.empty, 1 - least))
        if once.empty:
            raise _SlowError("what it repeats may be nothing")
        size = len(self.places) - start
        endless = most is _parser.MAXREPEAT
        copies = max(least, 1) if endless else int(most)
        if size * copies + start > _MOST:
            endless, least, copies = True, min(least, 1), 1
        parts = [once, *(read() for _ in range(copies - 1))]
        if endless:
            for place, ways in parts[-1].last.items():
                self._join(place, parts[-1].first, ways)
            whole = self.sequence(parts)
            return whole if least else _Part(first=whole.first, last=whole.last)
        tail = _NOTHING
        for part in reversed(parts[max(least, 0) :]):
            some = self.sequence([part, tail])
            tail = _Part(first=some.first, last=some.last)
        return self.sequence([*parts[:least], tail])

    # Judgement

    def check(self, begin: _Part, held: frozenset[str]) -> None:
        """Raise _SlowError where the same text can be gone along in too many ways, beginning where `held` holds."""
        places = {place: self.follow[place] for place in range(len(self.places))}
        opened = [place for place, following in places.items() if self._is_open(following)]
        repeated = [place for place in opened if place in self._reach({place})]
        if len(repeated) > 1:
            raise _SlowError("several of its repetitions can take the same characters")
        if len(opened) - len(repeated) + self._is_open(begin.first) > _CHOICES:
            raise _SlowError("it leaves too many choices open")
        if repeated and self._returns(repeated[0]):
            raise _SlowError("a repetition in it can take the same characters in two ways")
        for place in repeated:
            for rival in self._rivals(place):
                # Where nothing more must hold, the first way along is taken.
                more = rival not in begin.last or rival < self.edge
                if more and self._starts_within(rival, held):
                    raise _SlowError("two of its repetitions share characters, wherever it begins")

    def _is_open(self, following: Counter[int]) -> bool:
        if any(ways > 1 for ways in following.values()):
            return True
        return any(self.places[a] & self.places[b] for a, b in combinations(following, 2))

    def _reach(self, places: Iterable[int]) -> set[int]:
        """Return the places that are reached from these by one step and more."""
        seen: set[int] = set()
        ahead = list(places)
        while ahead:
            for following in self.follow[ahead.pop()]:
                if following not in seen:
                    seen.add(following)
                    ahead.append(following)
        return seen

    def _returns(self, place: int) -> bool:
        """Return whether two ways lead from a place back to it over the same characters."""
        follow = self.follow
        if any(ways > 1 and place in {n, *self._reach({n})} for n, ways in follow[place].items()):
            return True
        ahead = [pair for pair in combinations(follow[place], 2) if self._meet(*pair)]
        seen = set(ahead)
        while ahead:
            a, b = ahead.pop()
            for pair in ((x, y) for x in follow[a] for y in follow[b] if self._meet(x, y)):
                if pair[0] == pair[1] and place in {pair[0], *self._reach({pair[0]})}:
                    return True
                if pair not in seen:
                    seen.add(pair)
                    ahead.append(pair)
            if len(seen) > _PAIRS:
                raise _SlowError("it leaves too many choices open")
        return False

    def _rivals(self, place: int) -> Iterator[int]:
        """Yield the places of other repetitions that take over, at any point, what `place` goes on to take."""
        looked = 0
        for rival in self._reach({place}):
            if rival != place and rival in self._reach({rival}):
                ahead: set[tuple[int, ...]] = {(place, place, rival)}
                seen = set(ahead)
                while ahead and (place, rival, rival) not in seen:
                    follow = [self.follow[at] for at in ahead.pop()]
                    looked += math.prod(map(len, follow))
                    if looked > _TRIPLES:
                        raise _SlowError("it leaves too many choices open")
                    ahead |= {triple for triple in product(*follow) if self._agree(triple)} - seen
                    seen |= ahead
                if (place, rival, rival) in seen:
                    yield rival

    def _agree(self, places: tuple[int, ...]) -> bool:
        return bool(frozenset.intersection(*(self.places[place] for place in places)))

    def _starts_within(self, rival: int, held: frozenset[str]) -> bool:
        """Return whether a match may begin at many of the characters that a repetition takes."""
        loop = (at for at in self._reach({rival}) if rival in self._reach({at}))
        taken = frozenset[str]().union(*(self.places[at] for at in loop))
        lines = "AT_BEGINNING_LINE" not in held or "\n" in taken
        words = "AT_BOUNDARY" not in held or len({_is("CATEGORY", "WORD", c) for c in taken}) > 1
        return lines and words and held.isdisjoint({"AT_BEGINNING", "AT_BEGINNING_STRING"})

    def _meet(self, a: int, b: int) -> bool:
        return not self.places[a].isdisjoint(self.places[b])


def _times(ways: Counter[int], factor: int) -> Counter[int]:
    return Counter({place: min(n * factor, 2) for place, n in ways.items()} if factor else {})


def _either(parts: Sequence[_Part]) -> _Part:
    first = sum((part.first for part in parts), Counter[int]())
    last = sum((part.last for part in parts), Counter[int]())
    return _Part(first=first, last=last, empty=min(sum(part.empty for part in parts), 2))


def _held(items: Any, flags: int) -> frozenset[str]:
    """Return what must hold in front of the first character, in the words of the parser."""
    found = (str(value) for code, value in takewhile(lambda item: str(item[0]) == "AT", items))
    line = "_LINE" if flags & re.MULTILINE else ""
    return frozenset(word + line if word == "AT_BEGINNING" else word for word in found)


# Characters


def _characters(code: str, value: Any, flags: int, sample: frozenset[str]) -> frozenset[str]:
    if code == "ANY":
        return sample
    if code == "NOT_LITERAL":
        return sample - {chr(value)}
    items = [(code, value)] if code == "LITERAL" else value
    folded = bool(flags & re.IGNORECASE)
    if folded and sum(v[1] - v[0] for c, v in items if str(c) == "RANGE") > _WIDE:
        raise _SlowError("it takes long to compile")
    return frozenset(c for c in sample if _takes(items, c, folded))


def _takes(items: Any, character: str, folded: bool) -> bool:
    forms = {character, character.lower(), character.upper()} if folded else {character}
    negated = str(items[0][0]) == "NEGATE"
    return negated != any(_is(str(c), v, form) for c, v in items[negated:] for form in forms)


def _is(code: str, value: Any, form: str) -> bool:
    if code == "CATEGORY":
        name = str(value).removeprefix("CATEGORY_")
        test = _CATEGORIES[name.removeprefix("NOT_")]
        return test(form) != name.startswith("NOT_")
    low, high = value if code == "RANGE" else (value, value)
    return len(form) == 1 and bool(low <= ord(form) <= high)


_CATEGORIES: dict[str, Callable[[str], bool]] = {
    "DIGIT": lambda form: form.isdecimal(),
    "SPACE": lambda form: form.isspace(),
    "WORD": lambda form: form.isalnum() or form == "_",
}


def _named(items: Any) -> Iterator[int]:
    """Yield the code points that a parsed pattern names."""
    if isinstance(items, int) and 0 <= items < 0x10FFFF:
        yield from (items, max(items - 1, 0), items + 1)
    elif isinstance(items, Sequence | _parser.SubPattern) and not isinstance(items, str):
        for item in items:
            yield from _named(item)


def doubt(
    ledger: Ledger, owner: str, pattern: Value, flags: int = 0, offset: int | None = None
) -> None:
    """Write down a pattern that may take for ever, which `owner` matches."""
    text = pattern if isinstance(pattern, str | bytes) else "." * (LONGEST + 1)
    if why := slowness(text, flags):
        message = f"'{owner}' matches {describe(pattern)}, which may take for ever: {why}"
        remedy = _REMEDY + remedy_for(owner).partition("then ")[2]
        ledger.find("slow-pattern", "review", message, offset=offset, name=owner, remedy=remedy)


@functools.lru_cache(maxsize=64)
def slowness(pattern: str | bytes, flags: int = 0) -> str | None:
    """Return why a pattern may take for ever, None for one that doesn't, or that does not compile."""
    if len(pattern) > LONGEST:
        return f"it has {len(pattern)} characters"
    try:
        tree = _parser.parse(pattern, flags)
        sample = _SAMPLE | frozenset(map(chr, _named(tree)))
        ahead: list[Any] = [(tree, tree.state.flags)]
        while ahead:
            automaton = _Automaton(sample)
            items, inside = ahead.pop()
            automaton.check(automaton.read(items, inside), _held(items, inside))
            ahead += automaton.apart
    except (re.error, ValueError, OverflowError):
        return None
    except RecursionError:
        return "it is nested too deeply"
    except _SlowError as slow:
        return str(slow)
    return None
