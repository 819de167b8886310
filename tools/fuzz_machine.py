"""Try the pickle machine on random programs: `python tools/fuzz_machine.py [MINUTES] [SEED]`.

Graphs of objects, random opcodes, changed pickles and changed runs of literals are opened by our machine and by CPython's two
unpicklers, which must agree wherever ours accepts, and audited in each format; changed forests are audited
with their trees told at once and one by one, which must say the same. Ends with an error where they differ, where a program takes a second, or where memory runs past its bound.
"""

from __future__ import annotations

import random
import resource
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import agreement
import repeating

from cannery.audits.audit import audit_bytes
from cannery.sources.source import Format

MEMORY = 2 << 30
"""Bytes that the whole run may take."""
SLOWEST = 1.0
"""Seconds of processor time for one program."""
FORMATS: tuple[Format, ...] = ("pickle", "joblib", "skops", "onnx")


def timed(data: bytes, names: frozenset[str]) -> bool:
    """Return whether our machine accepts a program, by which nothing may take long."""
    began = time.process_time()
    accepted = agreement.check(data, names)
    for kind in FORMATS:
        for finding in audit_bytes(data, kind).findings:
            if finding.rule == "exhausted":
                raise AssertionError(f"{finding.message}: {data!r}")
    if time.process_time() - began > SLOWEST:
        raise AssertionError(f"{time.process_time() - began:.1f} s for {data!r}")
    return accepted


def attempt(seed: int, tally: Counter[str]) -> None:
    """Try what one seed makes."""
    source = random.Random(seed)
    for protocol in range(6):
        for data in agreement.pickled(agreement.graph(source), protocol):
            tally["graphs"] += 1
            if not timed(data, agreement.NUMPY):
                raise AssertionError(f"we alone refuse {data!r}")
        for data in agreement.pickled(agreement.graph(source, numpy=False), protocol):
            changed = agreement.mutated(data, source)
            tally["changed"] += 1
            tally["changed, accepted"] += timed(changed, agreement.NAMES)
        for data in agreement.pickled(agreement.batch(source), protocol):
            tally["runs"] += 1
            tally["runs, accepted"] += timed(agreement.mutated(data, source), agreement.NAMES)
        form = source.choice(repeating.FORMS)
        forest = repeating.saved(repeating.models()[source.choice(repeating.NAMES)], form)
        tally["forests"] += 1
        repeating.check(repeating.mutated(forest, source), form)
        for _ in range(10):
            tally["random"] += 1
            tally["random, accepted"] += timed(agreement.program(source), agreement.NAMES)


def main(minutes: float = 10.0, seed: int = 0) -> None:
    """Try seeds, one after the other, until the time is over."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    tally: Counter[str] = Counter()
    ends = time.monotonic() + 60 * minutes
    while time.monotonic() < ends:
        try:
            attempt(seed, tally)
        except BaseException:
            sys.stderr.write(f"seed {seed}\n")
            raise
        seed += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    sys.stdout.write(f"{dict(tally)}, next seed {seed}, {peak} MB\n")


if __name__ == "__main__":
    main(*(convert(word) for convert, word in zip((float, int), sys.argv[1:], strict=False)))
