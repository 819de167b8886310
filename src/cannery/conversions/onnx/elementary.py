"""Elementary functions in double that the operator set lacks, or has only with lost digits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cannery.conversions.onnx.builder import Graph

_CENTRAL = (
    (
        *(2.50908_09287_30122_6727e3, 3.34305_75583_58812_8105e4, 6.72657_70927_00870_0853e4),
        *(4.59219_53931_54987_1457e4, 1.37316_93765_50946_1125e4, 1.97159_09503_06551_4427e3),
        *(1.33141_66789_17843_7745e2, 3.38713_28727_96366_6080),
    ),
    (
        *(5.22649_52788_52854_5610e3, 2.87290_85735_72194_2674e4, 3.93078_95800_09271_0610e4),
        *(2.12137_94301_58659_5867e4, 5.39419_60214_24751_1077e3, 6.87187_00749_20579_0830e2),
        *(4.23133_30701_60091_1252e1, 1.0),
    ),
)
_OUTER = (
    (
        *(7.74545_01427_83414_07640e-4, 2.27238_44989_26918_45833e-2),
        *(2.41780_72517_74506_11770e-1, 1.27045_82524_52368_38258),
        *(3.64784_83247_63204_60504, 5.76949_72214_60691_40550),
        *(4.63033_78461_56545_29590, 1.42343_71107_49683_57734),
    ),
    (
        *(1.05075_00716_44416_84324e-9, 5.47593_80849_95344_94600e-4),
        *(1.51986_66563_61645_71966e-2, 1.48103_97642_74800_74590e-1),
        *(6.89767_33498_51000_04550e-1, 1.67638_48301_83803_84940),
        *(2.05319_16266_37758_82187, 1.0),
    ),
)
"""Numerators and denominators of algorithm AS241 (M. J. Wichura, Applied Statistics 37, 1988)."""
_TAIL = (
    *(
        -1.7428634733048428e-09,
        6.223563546061885e-10,
        8.30317693589323e-09,
        -5.3466521510044485e-09,
    ),
    *(
        2.0314588159690856e-09,
        2.677684894688032e-08,
        -2.0146026394891003e-07,
        -6.147665088081936e-08,
    ),
    *(
        1.6950491986832922e-06,
        -9.704734488808305e-07,
        -1.1407235659687495e-05,
        2.2382904112880967e-05,
    ),
    *(
        5.163308605504162e-05,
        -0.00029015377084015535,
        0.00029371821517467815,
        0.0017556258336868503,
    ),
    *(-0.009746580370510124, 0.028362277412011572, -0.0586933985052154, 0.09230432116179438),
    *(-0.10880393014617268, 0.0822767384900878, 0.0035854154855512743, -0.14024059858554938),
    1.2375126308378277,
)
"""(1 + 2x) · exp(x²) · erfc(x) as a polynomial of (x - 3.75) / (x + 3.75), fitted at Chebyshev's points."""
_SERIES = tuple(
    2.0 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1))
    for n in range(14, -1, -1)
)
"""Of erf(x) / x in powers of x²."""
_ANGLES = tuple(4.0 * (-1) ** n / (2 * n + 1) for n in range(13, -1, -1))
"""Of 4 · arctan(x) / x in powers of x²: to the last digit up to tan(π/16)."""
_LEAST = 1e-10
"""AS241 has a third region below exp(-25), which nobody here asks for."""


def log1p(graph: Graph, wire: str) -> str:
    """Compute log(1 + x) without losing small x: log(u) · x / (u - 1) with u = 1 + x (Kahan)."""
    one = graph.constant(1.0)
    more = graph.node("Add", [wire, one])
    less = graph.node("Sub", [more, one])
    ratio = graph.node("Div", [graph.node("Mul", [graph.node("Log", [more]), wire]), less])
    tiny = graph.node("Equal", [more, one])
    infinite = graph.node("Equal", [wire, graph.constant(np.inf)])
    return graph.node("Where", [graph.node("Or", [tiny, infinite]), wire, ratio])


def expm1(graph: Graph, wire: str) -> str:
    """Compute exp(x) - 1 without losing small x: 2 · sinh(x/2) · exp(x/2), by tanh, for |x| < 1."""
    one = graph.constant(1.0)
    grown = graph.node("Exp", [wire])
    half = graph.node("Tanh", [graph.node("Mul", [wire, graph.constant(0.5)])])
    near = graph.node("Mul", [half, graph.node("Add", [grown, one])])
    small = graph.node("Less", [graph.node("Abs", [wire]), one])
    return graph.node("Where", [small, near, graph.node("Sub", [grown, one])])


def normal_quantile(graph: Graph, wire: str) -> str:
    """Compute the quantile function of the normal distribution for probabilities in [1e-10, 1 - 1e-10]."""
    centred = graph.node("Sub", [wire, graph.constant(0.5)])
    squared = graph.node("Mul", [centred, centred])
    inner = graph.node("Sub", [graph.constant(0.180625), squared])
    central = graph.node("Mul", [centred, _ratio(graph, inner, _CENTRAL)])
    other = graph.node("Sub", [graph.constant(1.0), wire])
    negative = graph.node("Less", [centred, graph.constant(0.0)])
    tail = graph.node("Where", [negative, wire, other])
    tail = graph.node("Where", [_below(graph, tail, _LEAST), graph.constant(_LEAST), tail])
    depth = graph.node("Sqrt", [graph.node("Neg", [graph.node("Log", [tail])])])
    outer = _ratio(graph, graph.node("Sub", [depth, graph.constant(1.6)]), _OUTER)
    signed = graph.node("Where", [negative, graph.node("Neg", [outer]), outer])
    near = graph.node("GreaterOrEqual", [inner, graph.constant(0.0)])
    return graph.node("Where", [near, central, signed])


def erf(graph: Graph, wire: str) -> str:
    """Compute the error function: by its series near 0, which keeps all digits of a small x.

    Beyond 0.5 to 2e-15, by M. M. Shepherd and J. G. Laframboise (1981).
    """
    square = graph.node("Mul", [wire, wire])
    near = graph.node("Mul", [polynomial(graph, square, _SERIES), wire])
    size, one = graph.node("Abs", [wire]), graph.constant(1.0)
    center = graph.constant(3.75)
    ratio = graph.node(
        "Div", [graph.node("Sub", [size, center]), graph.node("Add", [size, center])]
    )
    falling = graph.node("Exp", [graph.node("Neg", [graph.node("Mul", [size, size])])])
    scaled = graph.node("Mul", [falling, polynomial(graph, ratio, _TAIL)])
    rising = graph.node("Add", [graph.node("Add", [size, size]), one])
    beyond = graph.node("Sub", [one, graph.node("Div", [scaled, rising])])
    far = graph.node("Mul", [graph.node("Sign", [wire]), beyond])
    return graph.node("Where", [_below(graph, size, 0.5), near, far])


def _below(graph: Graph, wire: str, limit: float) -> str:
    return graph.node("Less", [wire, graph.constant(limit)])


def _ratio(
    graph: Graph, wire: str, coefficients: tuple[tuple[float, ...], tuple[float, ...]]
) -> str:
    top, bottom = (polynomial(graph, wire, c) for c in coefficients)
    return graph.node("Div", [top, bottom])


def polynomial(graph: Graph, wire: str, coefficients: tuple[float, ...]) -> str:
    """Compute a polynomial by Horner's rule, the highest power first."""
    value = graph.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        value = graph.node("Mul", [value, wire])
        value = graph.node("Add", [value, graph.constant(coefficient)])
    return value


def _signed(graph: Graph, wire: str, size: str) -> str:
    return graph.node("Mul", [graph.node("Sign", [wire]), size])


def sinh(graph: Graph, wire: str) -> str:
    """Compute the hyperbolic sine without losing small x: (expm1(x) - expm1(-x)) / 2."""
    falling = expm1(graph, graph.node("Neg", [wire]))
    whole = graph.node("Sub", [expm1(graph, wire), falling])
    return graph.node("Mul", [whole, graph.constant(0.5)])


def arcsinh(graph: Graph, wire: str) -> str:
    """Compute its inverse without losing small x: log1p(|x| + x² / (1 + √(x² + 1)))."""
    one, square = graph.constant(1.0), graph.node("Mul", [wire, wire])
    root = graph.node("Sqrt", [graph.node("Add", [square, one])])
    rest = graph.node("Div", [square, graph.node("Add", [root, one])])
    return _signed(graph, wire, log1p(graph, graph.node("Add", [graph.node("Abs", [wire]), rest])))


def cbrt(graph: Graph, wire: str) -> str:
    """Compute the cubic root, of negative numbers too."""
    size = graph.node("Pow", [graph.node("Abs", [wire]), graph.constant(1.0 / 3.0)])
    return _signed(graph, wire, size)


def arctan(graph: Graph, wire: str) -> str:
    """Compute the inverse tangent: by its series, after the reciprocal and two halvings of the angle."""
    one, size = graph.constant(1.0), graph.node("Abs", [wire])
    steep = graph.node("Greater", [size, one])
    flat = graph.node("Where", [steep, graph.node("Div", [one, size]), size])
    for _ in range(2):
        square = graph.node("Mul", [flat, flat])
        root = graph.node("Sqrt", [graph.node("Add", [square, one])])
        flat = graph.node("Div", [flat, graph.node("Add", [root, one])])
    square = graph.node("Mul", [flat, flat])
    angle = graph.node("Mul", [polynomial(graph, square, _ANGLES), flat])
    rest = graph.node("Sub", [graph.constant(math.pi / 2), angle])
    return _signed(graph, wire, graph.node("Where", [steep, rest, angle]))


def arcsin(graph: Graph, wire: str) -> str:
    """Compute the inverse sine: the angle whose tangent is x / √((1 - x) · (1 + x))."""
    one = graph.constant(1.0)
    sides = [graph.node("Sub", [one, wire]), graph.node("Add", [one, wire])]
    return arctan(graph, graph.node("Div", [wire, graph.node("Sqrt", [graph.node("Mul", sides)])]))


def arccos(graph: Graph, wire: str) -> str:
    """Compute the inverse cosine: twice the angle whose tangent is √((1 - x) / (1 + x))."""
    one = graph.constant(1.0)
    sides = [graph.node("Sub", [one, wire]), graph.node("Add", [one, wire])]
    half = arctan(graph, graph.node("Sqrt", [graph.node("Div", sides)]))
    return graph.node("Add", [half, half])


def tan(graph: Graph, wire: str) -> str:
    """Compute the tangent."""
    return graph.node("Div", [graph.node("Sin", [wire]), graph.node("Cos", [wire])])


def _multiple(factor: float) -> Callable[[Graph, str], str]:
    return lambda graph, wire: graph.node("Mul", [wire, graph.constant(factor)])


def _logarithm(base: float) -> Callable[[Graph, str], str]:
    def made(graph: Graph, wire: str) -> str:
        return graph.node("Div", [graph.node("Log", [wire]), graph.constant(math.log(base))])

    return made


FUNCTIONS: dict[str, Callable[[Graph, str], str]] = {
    "arccos": arccos,
    "arcsin": arcsin,
    "arcsinh": arcsinh,
    "arctan": arctan,
    "cbrt": cbrt,
    "deg2rad": _multiple(math.pi / 180.0),
    "degrees": _multiple(180.0 / math.pi),
    "exp2": lambda graph, wire: graph.node("Pow", [graph.constant(2.0), wire]),
    "expm1": expm1,
    "log10": _logarithm(10.0),
    "log1p": log1p,
    "log2": _logarithm(2.0),
    "rad2deg": _multiple(180.0 / math.pi),
    "radians": _multiple(math.pi / 180.0),
    "sinh": sinh,
    "square": lambda graph, wire: graph.node("Mul", [wire, wire]),
    "tan": tan,
}
"""By numpy's names."""
