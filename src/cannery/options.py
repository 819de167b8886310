"""An option is declared once: its default and its help stand at the field of the class that owns it."""

from __future__ import annotations

from typing import Any


def option(help_text: str, *, metavar: str | None = None) -> dict[str, Any]:
    """Return the metadata that offers a dataclass field on the command line."""
    return {"option": {"help": help_text, "metavar": metavar}}
