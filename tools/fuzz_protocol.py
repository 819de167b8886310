"""Send requests that are split, pipelined, slow and damaged several ways: `python tools/fuzz_protocol.py [MINUTES] [SEED]`.

The short cut, the ASGI application and uvicorn itself must say the same bytes at the same time, and end alike.
"""

from __future__ import annotations

import logging
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "serving"))

from churn_cans import sealed
from test_hot import WIRED, alike
from wires import mangled

from cannery.serving.server import application
from cannery.serving.service import open_service
from cannery.serving.settings import Settings


def main(minutes: float = 10.0, seed: int = 0) -> int:
    """Try seeds until the time is over; 1 where the ways differ."""
    logging.disable()
    first, ends = seed, time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        service = open_service(sealed(Path(folder, "churn.can")).folder)
        app = application(service, Settings(max_body=1 << 20))
        while time.monotonic() < ends:
            try:
                alike(app, mangled(random.Random(seed), WIRED))
            except AssertionError as error:
                sys.stderr.write(f"seed {seed}: {error}\n")
                return 1
            seed += 1
    sys.stdout.write(f"{seed - first} talks alike, next seed {seed}\n")
    return 0


if __name__ == "__main__":
    given = (convert(word) for convert, word in zip((float, int), sys.argv[1:], strict=False))
    sys.exit(main(*given))
