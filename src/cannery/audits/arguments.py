"""A call of a listed function, as the rules about arguments see it."""

from __future__ import annotations

from cannery.audits.ledger import Ledger, remedy_for
from cannery.audits.values import Made, Name, Value


class Call:
    """A listed function and its arguments."""

    __slots__ = ("items", "ledger", "name", "offset")

    def __init__(self, ledger: Ledger, name: Name, items: tuple[Value, ...], offset: int) -> None:
        self.ledger = ledger
        self.name = name
        self.items = items
        self.offset = offset

    def refuse(self, why: str) -> Made:
        """Write down arguments that no honest file has; returns an unknown object."""
        message = f"'{self.name.dotted}' is called {why}"
        self.ledger.find(
            "argument-rule", "unsafe", message, offset=self.offset, name=self.name.dotted
        )
        return Made(self.name)

    def review(self, why: str) -> None:
        """Write down arguments that no rule here can judge."""
        name = self.name.dotted
        message, remedy = f"'{name}' {why}", remedy_for(name)
        self.ledger.find(
            "unchecked-native", "review", message, offset=self.offset, name=name, remedy=remedy
        )

    def accept(self) -> Made:
        """Take any arguments; globals among them count as references."""
        for item in self.items:
            self.ledger.refer(item)
        made = Made(self.name, self.items)
        self.ledger.made(made, self.offset)
        return made
