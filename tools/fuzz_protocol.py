"""Send requests that are split, pipelined and damaged both ways: `python tools/fuzz_protocol.py [MINUTES] [SEED]`.

The short cut and the ASGI application must answer the same bytes. Whoever sends on after a
server closed may lose the end of its answer to a reset, so what differs is asked again before it counts.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "serving"))

import test_hot
from churn_cans import RECORDS, expected, make_graph, make_manifest

from cannery.blobs import canonical_json
from cannery.cans.open import Can
from cannery.cans.seal import seal
from cannery.serving.http import Application
from cannery.serving.server import application
from cannery.serving.service import open_service
from cannery.serving.settings import Settings
from cannery.signatures import Canary

TRIES = 4
"""How often what differs is asked."""


def sealed(folder: Path) -> Can:
    """Seal `churn.can` in a folder."""
    canary = Canary(records=RECORDS, outputs=tuple(map(expected, RECORDS)))
    files = {"model.onnx": make_graph(), "canary.json": canonical_json(canary)}
    return seal(make_manifest(), files, folder / "churn.can")


def pieces(chance: random.Random) -> tuple[bytes, ...]:
    """Return one to four requests, damaged now and then, in one to five pieces."""
    talks = list(test_hot.TALKS.values())
    whole = bytearray(b"".join(b"".join(chance.choice(talks)) for _ in range(chance.randint(1, 4))))
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        at = chance.randrange(len(whole))
        match chance.randrange(3):
            case 0:
                whole[at] = chance.randrange(256)
            case 1:
                del whole[at : at + chance.randint(1, 3)]
            case _:
                whole[at:at] = chance.choice((b"\r\n", b"\0", b" ", b":", b"{", b"0"))
    cuts = sorted(chance.randrange(len(whole) + 1) for _ in range(chance.randrange(5)))
    edges = [0, *cuts, len(whole)]
    return tuple(bytes(whole[a:b]) for a, b in pairwise(edges) if a < b)


def alike(app: Application, sent: tuple[bytes, ...]) -> bool:
    """Whether both ways answer the same."""
    short, long = (
        test_hot.without_ids(test_hot.said(app, kind, *sent))
        for kind in (test_hot.HotProtocol, test_hot.Protocol)
    )
    return short == long


def main(minutes: float = 10.0, seed: int = 0) -> int:
    """Try seeds until the time is over; 1 where the two ways differ."""
    tally: Counter[str] = Counter()
    ends = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        service = open_service(sealed(Path(folder)).folder)
        app = application(service, Settings(max_body=1 << 20))
        while time.monotonic() < ends:
            sent = pieces(random.Random(seed))
            asked = next((n for n in range(1, TRIES + 1) if alike(app, sent)), None)
            if asked is None:
                sys.stderr.write(f"seed {seed}: the two ways differ on {sent!r}\n")
                return 1
            tally["talks"] += 1
            tally["asked again"] += asked > 1
            seed += 1
    sys.stdout.write(f"{dict(tally)}, next seed {seed}\n")
    return 0


if __name__ == "__main__":
    given = (convert(word) for convert, word in zip((float, int), sys.argv[1:], strict=False))
    sys.exit(main(*given))
