"""Damage honest and hostile files at random, and audit them: `python tools/fuzz_files.py [MINUTES] [SEED]`.

Archives, arrays, checkpoints, graphs, boosters' own files and pickles. Every answer must be a verdict or a
refusal that names the file, within a second or two; an exception ends the run and writes the file down.
"""

from __future__ import annotations

import random
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "audits")]
_LARGEST = 40_000
_SLOW = 3.0
"""Seconds of processor for one file of that size."""


def seeds() -> list[bytes]:
    """Return the files that are damaged."""
    import hostile_files
    import native_models
    import test_containers
    import test_onnx_graphs

    marker = Path("/nonexistent/marker")
    files = [*native_models.honest_files().values()]
    files += [make() for make in test_containers.HONEST_FILES.values()]
    files += [make(marker) for _, make in hostile_files.CASES]
    files += [*test_onnx_graphs.HONEST.values(), *test_onnx_graphs.HOSTILE.values()]
    return [data for data in files if 0 < len(data) < _LARGEST]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return data with a few bytes changed, dropped and put in."""
    block = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(block) or 1)
        match chance.randrange(8):
            case 0:
                del block[at : at + chance.randrange(1, 5)]
            case 1:
                block[at:at] = chance.randbytes(chance.randrange(1, 4))
            case 2 | 3 if block:
                block[at % len(block)] ^= 1 << chance.randrange(8)
            case _ if block:
                block[at % len(block)] = chance.randrange(256)
    return bytes(block)


def verdict(data: bytes) -> str:
    """Return what the audit says of a file, or that it is refused."""
    from cannery.audits.audit import audit_bytes
    from cannery.errors import SourceError
    from cannery.sources.sniff import sniff_data

    try:
        kind = sniff_data(data, "the file")
    except SourceError:
        return "refused"
    return f"{kind} {audit_bytes(data, kind).verdict}"


def main(minutes: float = 10.0, seed: int = 0) -> int:
    """Fuzz for some minutes; 1 where a file broke the audit."""
    warnings.simplefilter("ignore")
    chance, pool, counts = random.Random(seed), seeds(), Counter[str]()
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        data = damaged(chance.choice(pool), chance)
        began = time.process_time()
        try:
            counts[verdict(data)] += 1
        except Exception as error:
            Path("broke-the-audit.bin").write_bytes(data)
            sys.stdout.write(f"{type(error).__name__}: {error}; see broke-the-audit.bin\n")
            return 1
        if (taken := time.process_time() - began) > _SLOW:
            Path("slow-to-audit.bin").write_bytes(data)
            sys.stdout.write(f"{taken:.1f} s for {len(data)} bytes; see slow-to-audit.bin\n")
            return 1
    sys.stdout.write(f"{counts.total()} files: {dict(counts.most_common())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3])))
