"""Plots of a parity certificate as SVG: original against converted, and how many rows differ by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from cannery.conversions.nouns import DECADES, Differences, Point

_WIDTH, _HEIGHT = 460, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 48
_HEADROOM = 52
"""Above the tallest bar, for its number, which stands upright: numbers are wider than bars."""
_SHAPES = {
    "sample": "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0z",
    "threshold": "M-3,-3h6v6h-6z",
    "null": "M0,-4l4,7h-8z",
    "unseen": "M0,-4l4,4l-4,4l-4,-4z",
    "extreme": "M-3,-3l6,6M3,-3l-6,6",
}
"""What stands for a row of each kind: told apart without colour too."""


def scatter(points: Sequence[Point]) -> str:
    """Return the plot of converted against original scores, with the line on which both are equal."""
    values = [v for p in points for v in (p.original, p.converted)]
    low, high = min(values), max(values)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    if low == high:
        low, high = low - 1, high + 1
    across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + across * ((value - low) / (high - low))

    def y(value: float) -> float:
        return _TOP + up * (1 - (value - low) / (high - low))

    parts = [_frame()]
    for tick in _ticks(low, high):
        parts.append(_line("grid", x(tick), _TOP, x(tick), _TOP + up))
        parts.append(_line("grid", _LEFT, y(tick), _LEFT + across, y(tick)))
        parts.append(_text(x(tick), _HEIGHT - _BOTTOM + 18, f"{tick:g}", "middle"))
        parts.append(_text(_LEFT - 8, y(tick) + 4, f"{tick:g}", "end"))
    parts.append(_line("equal", x(low), y(low), x(high), y(high)))
    for point in points:
        place = f"translate({x(point.original):.1f},{y(point.converted):.1f})"
        parts.append(
            f'<path class="p {point.kind}" d="{_SHAPES[point.kind]}" transform="{place}"/>'
        )
    parts.append(_axes("original", "converted"))
    kinds = ", ".join(dict.fromkeys(p.kind for p in points))
    told = (
        f"{len(points)} rows ({kinds}): the score of the original across, of the converted model up"
    )
    return _svg("Original against converted", told, parts)


def bars(differences: Sequence[Differences], tolerance: float) -> str:
    """Return the plot of how many rows differ by how much, and where the tolerance lies."""
    counts = [sum(column) for column in zip(*(d.decades for d in differences), strict=True)]
    across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    step = across / len(counts)
    most = max(max(counts), 1)
    parts = [_frame()]
    for place, count in enumerate(counts):
        if count:
            tall = max(3.0, (up - _HEADROOM) * math.log10(1 + count) / math.log10(1 + most))
            left = _LEFT + place * step
            parts.append(
                f'<rect class="bar" x="{left + 2:.1f}" y="{_TOP + up - tall:.1f}" '
                f'width="{step - 4:.1f}" height="{tall:.1f}"><title>{count} rows</title></rect>'
            )
            parts.append(_upright(left + step / 2 + 4, _TOP + up - tall - 4, f"{count}", "start"))
    parts.append(_text(_LEFT + step / 2, _HEIGHT - _BOTTOM + 18, "0", "middle"))
    for place, edge in enumerate(DECADES):
        if round(math.log10(edge)) % 3 == 0:
            at = _LEFT + (place + 2) * step
            parts.append(_line("grid", at, _TOP + up, at, _TOP + up + 5))
            parts.append(_text(at, _HEIGHT - _BOTTOM + 18, f"{edge:.0e}", "middle"))
    if tolerance > 0:
        beyond = (math.log10(tolerance) - math.log10(DECADES[0])) / 1 + 2
        at = _LEFT + step * min(max(beyond, 1.0), float(len(counts)))
        parts.append(_line("gate", at, _TOP, at, _TOP + up))
        parts.append(_text(at + 5, _TOP + 12, f"allowed: {tolerance:g}", "start"))
    parts.append(_axes("largest difference of a row", "rows (logarithmic)"))
    equal = f"{counts[0]} rows without any difference, {sum(counts[1:])} with one"
    return _svg("How many rows differ by how much", equal, parts)


def key(kinds: Sequence[str]) -> str:
    """Return what each mark of the scatter plot stands for."""
    marks = "".join(
        f'<li><svg viewBox="-6 -6 12 12" width="14" height="14" aria-hidden="true">'
        f'<path class="p {kind}" d="{_SHAPES[kind]}"/></svg> {escape(kind)}</li>'
        for kind in kinds
    )
    return f'<ul class="key">{marks}</ul>'


def _ticks(low: float, high: float) -> Iterator[float]:
    """Yield round values between two, about five of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    for count in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield count * step


def _frame() -> str:
    across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    return f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{across}" height="{up}"/>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _upright(x: float, y: float, text: str, anchor: str) -> str:
    place = f"translate({x:.1f},{y:.1f}) rotate(-90)"
    return f'<text transform="{place}" text-anchor="{anchor}">{escape(text)}</text>'


def _axes(across: str, up: str) -> str:
    middle = _TOP + (_HEIGHT - _TOP - _BOTTOM) / 2
    return _text(_LEFT + (_WIDTH - _LEFT - _RIGHT) / 2, _HEIGHT - 10, across, "middle") + _upright(
        14, middle, up, "middle"
    )


def _svg(title: str, told: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{title}: {told}")}">'
        f"<desc>{escape(told)}</desc>{''.join(parts)}</svg>"
    )
