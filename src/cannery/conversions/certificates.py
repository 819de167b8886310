"""The parity certificate as a page for people: one file that needs no other, on screen and on paper."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any

from cannery.cans.manifest import CanManifest
from cannery.conversions.nouns import Parity
from cannery.conversions.plots import bars, key, scatter

_STYLE = """
:root { --ink: #1a2129; --quiet: #56626f; --paper: #fbfbf9; --card: #fff; --line: #d8dde2; --mark: #0b5fae;
  --good: #14693a; --bad: #a3212b; --second: #a3541b; --third: #6b3fa0; font: 16px/1.5 system-ui, sans-serif; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e8ebee; --quiet: #a3afba; --paper: #14181d; --card: #1c2229; --line: #38424c; --mark: #7cb9f5;
    --good: #76d39b; --bad: #ff9a9f; --second: #f2b27a; --third: #c9a6f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; color: var(--ink); background: var(--paper); }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 0 0 .6rem; font-size: 1.15rem; }
p { margin: .25rem 0 .75rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem;
  margin: 1rem 0; break-inside: avoid; }
.verdict { display: inline-block; padding: .2rem .8rem; border: 1px solid currentColor; border-radius: 1rem;
  font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .quiet { color: var(--quiet); font-size: .9rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
figure { margin: 0; min-width: 0; } figcaption { font-weight: 600; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font: 14px system-ui, sans-serif; }
.frame { fill: none; stroke: var(--line); } .grid { stroke: var(--line); }
.equal { stroke: var(--quiet); stroke-dasharray: 4 4; } .gate { stroke: var(--bad); stroke-width: 2; }
.bar { fill: var(--mark); }
.p { fill: none; stroke: var(--mark); stroke-width: 1.5; }
.threshold { stroke: var(--second); } .null { stroke: var(--third); } .unseen { stroke: var(--good); }
.extreme { stroke: var(--bad); }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .5rem 0 0; padding: 0; list-style: none; }
.key li { display: flex; align-items: center; gap: .35rem; } .key svg { width: 14px; flex: none; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; min-width: 11rem; } td.n, th.n { text-align: right; min-width: 0; font-variant-numeric: tabular-nums; } td.n { white-space: nowrap; }
@media print { body { max-width: none; padding: 0; } section { border: 0; padding: 0; } }
"""

_KINDS = {
    "sample": "rows of the sample",
    "threshold": "rows on, and one step to either side of, the thresholds of trees and the edges of bins",
    "null": "rows with missing values, where the original takes them",
    "unseen": "rows with categories and texts that training never saw",
    "extreme": "rows with a number at the edge of its type or of what was seen",
}


def certificate_page(
    manifest: CanManifest, parity: Parity, *, model: str, can: str | None = None
) -> str:
    """Return the certificate as HTML.

    `model` is the digest of the converted model's file, `can` that of the can, where it is known already.
    """
    title = f"{manifest.name} {manifest.version}"
    parts = [
        _head(title, parity),
        _plots(parity),
        _section("Rows by kind", _kinds(parity)),
        _section("The row that is furthest off", _worst(parity)),
    ]
    if parity.refused:
        listed = "".join(f"<li>{escape(reason)}</li>" for reason in parity.refused)
        told = (
            "<p>The schema refuses what the original refuses, and no row with it was compared.</p>"
        )
        parts.append(_section("What the original refuses", f"{told}<ul>{listed}</ul>"))
    parts.append(_section("Of what, and by what", _lineage(manifest, parity, model, can)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Parity certificate of {escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _head(title: str, parity: Parity) -> str:
    good = parity.equal
    verdict = "Equal" if good else "Not equal"
    gate = (
        f"{parity.flips} labels changed and scores differ by {parity.maximum:.1e} at most, over "
        f"{parity.rows} rows. To pass, no label may change and no score differ by more than "
        f"{parity.tolerance:g} (of probabilities; of other numbers, relative to the larger of 1 and the "
        "original's)."
    )
    if parity.decided:
        gate += f" Labels are also the fields {', '.join(parity.decided)}, which are decided from scores."
    return (
        f'<header><h1>Parity certificate of {escape(title)}</h1><p><span class="verdict '
        f'{"good" if good else "bad"}">{verdict}</span></p><p>{escape(gate)}</p></header>'
    )


def _plots(parity: Parity) -> str:
    figures = ""
    if parity.points:
        kinds = tuple(dict.fromkeys(p.kind for p in parity.points))
        told = f"{len(parity.points)} of the rows, those that differ most among them."
        figures += (
            f"<figure><figcaption>Original against converted</figcaption>{scatter(parity.points)}"
            f'{key(kinds)}<p class="quiet">{escape(told)}</p></figure>'
        )
    if parity.differences:
        figures += (
            "<figure><figcaption>How many rows differ by how much</figcaption>"
            f"{bars(parity.differences, parity.tolerance)}</figure>"
        )
    return f'<section class="plots">{figures}</section>' if figures else ""


def _kinds(parity: Parity) -> str:
    rows = [
        (d.kind, _KINDS[d.kind], d.rows, f"{d.maximum:.1e}", f"{d.percentile999:.1e}", d.flips)
        for d in parity.differences
    ]
    head = ("kind", "what", "rows", "largest difference", "99.9th percentile", "labels changed")
    return _table(head, rows, numbers=4)


def _worst(parity: Parity) -> str:
    worst = parity.worst
    if worst is None:
        return "<p>No row differs at all: every score and every label is the same.</p>"
    answers = [
        (name, _shown(value), _shown(worst["converted"].get(name)))
        for name, value in worst["original"].items()
    ]
    values = [(name, _shown(value)) for name, value in worst["record"].items()]
    return _table(("answer", "original", "converted"), answers) + _table(("field", "value"), values)


def _lineage(manifest: CanManifest, parity: Parity, model: str, can: str | None) -> str:
    rows = {
        "original": f"{manifest.source.resolved} ({manifest.source.format}, {manifest.source.digest})",
        "converted": f"{manifest.model} ({manifest.runtime}, {model})",
        "can": can,
        "policy": manifest.audit.policy,
        "opened in": manifest.audit.sandbox,
        "opened by": ", ".join(f"{n} {v}" for n, v in sorted(parity.versions.items())),
        "notes": "; ".join(manifest.notes),
    }
    return _table(("", ""), [(n, v) for n, v in rows.items() if v], bare=True)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _table(
    head: tuple[str, ...], rows: Iterable[tuple[Any, ...]], *, numbers: int = 0, bare: bool = False
) -> str:
    """Return a table whose last `numbers` columns are numbers; a `bare` one has row heads alone."""
    kinds = [""] * (len(head) - numbers) + [' class="n"'] * numbers
    top = "".join(f'<th scope="col"{k}>{escape(h)}</th>' for h, k in zip(head, kinds, strict=True))
    lines = []
    for first, *rest in rows:
        cells = "".join(
            f"<td{k}>{escape(str(v))}</td>" for v, k in zip(rest, kinds[1:], strict=True)
        )
        lines.append(f'<tr><th scope="row">{escape(str(first))}</th>{cells}</tr>')
    above = "" if bare else f"<thead><tr>{top}</tr></thead>"
    return f'<div class="wide" tabindex="0"><table>{above}<tbody>{"".join(lines)}</tbody></table></div>'
