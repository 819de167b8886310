"""Conversion beside the common converters, plain skl2onnx and onnxmltools, on models of the suite.

`benchmarks/conversion.py [--every N]`. Both sides convert the same fitted models, and are compared with
the original's answers on the same rows: the sample, rows beside split thresholds, nulls, unseen values,
extremes. The converters run in a process of their own. A match: labels equal, scores within 1e-6.
Silently wrong: it converts, and a label differs, or a score by more than 1e-4. Where ours would differ,
parity tells, and another runtime serves.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import pyarrow as pa
from measuring import run
from suite import Case, cleared_file, opened_near
from suite_cases import cases

from cannery.conversions.choose import ConvertOptions, study_of
from cannery.conversions.parity import certify
from cannery.errors import CanneryError
from cannery.serving.scorer import onnx_scorer

PEER = Path(__file__).with_name("conversion_peer.py")


def prepare(case: Case, folder: Path) -> dict[str, Any]:
    """Convert a case our way, and write down what the others need."""
    model, frame = case.make()
    file = folder / "model.pkl"
    file.write_bytes(pickle.dumps(model))
    cleared = cleared_file(file)
    original, options = opened_near(cleared), ConvertOptions(threshold_cap=2000)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    study = study_of(original, cleared.source, table, options)
    features = study.signature.features
    began = time.perf_counter()
    outcome = "fails"
    try:
        data, feeds = original.to_onnx(features, "model")
        seconds = time.perf_counter() - began
        scorer = onnx_scorer(data, study.signature, feeds, outputs=tuple(study.sample.raw))
        parity = certify(
            [p for p in study.probed if len(p.batch)], scorer.score, study.signature,
            runtime="onnx", tolerance=1e-6, refused=(),
        )  # fmt: skip
        outcome = (
            "matches" if parity.equal else "told"
        )  # parity tells, and the next runtime is taken
    except CanneryError:
        seconds = time.perf_counter() - began
    asked = {
        "model": model,
        "features": [(f.name, f.type) for f in features],
        "text": original.description.columns[0].name == "text" and not original.description.named,
        "probes": [(p.batch.numbers, p.batch.strings, p.raw) for p in study.probed if len(p.batch)],
    }
    file.write_bytes(pickle.dumps(asked))
    return {"name": case.name, "group": case.group, "ours": outcome, "seconds": seconds}


def main() -> None:
    """Run both sides and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="take every Nth model only")
    every = parser.parse_args().every
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        found = []
        for index, case in enumerate(cases()[::every]):
            folder = work / f"{index:03}"
            folder.mkdir()
            try:
                found.append((prepare(case, folder), folder))
            except CanneryError as error:
                sys.stderr.write(f"left out: {case.name}: {error.message}\n")
        told = run([sys.executable, "-W", "ignore", str(PEER), *(str(f) for _, f in found)])
        theirs = json.loads(told.out)
        for (one, _), other in zip(found, theirs, strict=True):
            sys.stderr.write(
                f"{one['ours']:8} {other['outcome']:8} {one['name']} {other.get('why', '')}\n"
            )
    sys.stdout.write(table([one for one, _ in found], theirs) + "\n")


def table(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """Return the shares of both sides in Markdown."""

    def share(rows: list[Any], *wanted: str) -> str:
        return f"{100 * sum(r in wanted for r in rows) / len(rows):.0f} %"

    sides = {
        "Cannery": ([o["ours"] for o in ours], sum(o["seconds"] for o in ours)),
        "skl2onnx, onnxmltools": (
            [t["outcome"] for t in theirs],
            sum(t["seconds"] for t in theirs),
        ),
    }
    lines = [
        f"{len(ours)} models\n",
        "| | converts | matches | within 1e-4 | silently wrong | seconds |",
    ]
    lines.append("|---|--:|--:|--:|--:|--:|")
    for name, (outcomes, seconds) in sides.items():
        converts = share(outcomes, "matches", "rounded", "told", "wrong")
        kinds = (("matches",), ("matches", "rounded"), ("wrong",))
        shares = (converts, *(share(outcomes, *kind) for kind in kinds))
        lines.append(f"| {name} | {' | '.join(shares)} | {seconds:.1f} |")
    wrong = [o["name"] for o, t in zip(ours, theirs, strict=True) if t["outcome"] == "wrong"]
    lines += ["", "Silently wrong there:", "", *(f"- {name}" for name in wrong)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
