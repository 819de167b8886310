"""The first half of the line, up to the reasons: fetch, audit, clear, explain."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cannery.errors import UsageError
from cannery.inputs import received
from cannery.line import clear_source
from cannery.packs import PackOptions, convert_options
from cannery.progress import Progress, quiet, station

if TYPE_CHECKING:
    from cannery.conversions.explain import Explanation


def explain(
    model: object,
    *,
    sample: object | None = None,
    options: PackOptions | None = None,
    progress: Progress = quiet,
) -> Explanation:
    """Say which runtimes could hold a model, and what stands in the way of ONNX; raises as `pack` does."""
    from cannery.conversions.explain import explain as explained

    options = options or PackOptions()
    with tempfile.TemporaryDirectory(prefix="cannery-") as staging:
        source, table = received(
            model,
            sample,
            Path(staging),
            progress,
            name=options.name,
            tracking_uri=options.tracking_uri,
        )
        if source.format in ("can", "onnx"):
            raise UsageError(
                f"'{source.origin.given}' is {source.format} already: nothing is left to convert"
            )
        cleared = clear_source(source, options, progress)
        with station("explain", progress) as work:
            found = explained(cleared, sample=table, options=convert_options(options, work.note))
            work.result("converts exactly" if found.converts else "does not become ONNX")
    return found
