"""The audit: what opening a source would do, found without opening it."""

from __future__ import annotations

import gc
import time

from cannery.audits import boosters, members, mlflow, npy, onnx, pickles, skops, torch
from cannery.audits.contents import content
from cannery.audits.findings import Audit
from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.polyglots import check_readers
from cannery.blobs import digest_bytes
from cannery.errors import CanneryError, SourceError
from cannery.sources.source import Format, Source
from cannery.sources.windows import Data


def audit(source: Source, limits: Limits = Limits()) -> Audit:  # noqa: B008, frozen
    """Audit the model file, and every other file of its MLflow folder.

    Never raises for what a file holds: that becomes findings, and the worst of them the verdict.
    """
    began = time.perf_counter()
    ledger = Ledger(listing(), limits)
    in_folder = source.mlmodel is not None or len(source.files) > 1
    with _Uncollected():
        with members.Inside(ledger, source.main if in_folder else ""):
            _audit_main(source, ledger)
        if source.mlmodel is not None:
            mlflow.audit_folder(source, ledger, _audit_data)
    return _summed(source.format, source.blob.digest, source.blob.size, ledger, began)


def audit_bytes(data: Data, format: Format) -> Audit:  # noqa: A002
    """Audit a model that was never a file: what a worker answered, before anything opens it."""
    began = time.perf_counter()
    ledger = Ledger(listing(), Limits())
    with _Uncollected():
        _audit_data(format, data, ledger)
    return _summed(format, digest_bytes(memoryview(data)), len(data), ledger, began)


class _Uncollected:
    """Puts the collector of garbage off: all that an audit makes stays in use until its end."""

    __slots__ = ("_enabled",)

    def __enter__(self) -> None:
        self._enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._enabled:
            gc.enable()


def _summed(
    format: Format,  # noqa: A002
    digest: str,
    size: int,
    ledger: Ledger,
    began: float,
) -> Audit:
    return Audit(
        format=format,
        digest=digest,
        size=size,
        verdict=ledger.verdict(),
        names=ledger.names(),
        findings=ledger.findings(),
        versions=dict(sorted(ledger.versions.items())),
        duration=time.perf_counter() - began,
    )


def _audit_main(source: Source, ledger: Ledger) -> None:
    try:
        data = content(source.blob, ledger.limits)
        _audit_data(source.format, data, ledger)
    except (SourceError, KeyError) as error:
        ledger.find("unreadable", "unreadable", f"'{source.main}' can't be read: {error}")


def _audit_data(format: Format, data: Data, ledger: Ledger) -> None:  # noqa: A002
    try:
        check_readers(format, data, ledger)
        _dispatch(format, data, ledger)
    except (RecursionError, MemoryError) as error:
        ledger.find("exhausted", "unsafe", f"it exhausts the audit ({type(error).__name__})")
    except CanneryError:
        raise
    except Exception as error:  # no reader should raise on any file; where one does, the file fails
        ledger.find("exhausted", "unsafe", f"it breaks the audit ({type(error).__name__})")


def _dispatch(format: Format, data: Data, ledger: Ledger) -> None:  # noqa: A002
    match format:
        case "pickle":
            pickles.audit_pickle(data, ledger)
        case "joblib":
            pickles.audit_joblib(data, ledger)
        case "skops":
            skops.audit_skops(data, ledger)
        case "onnx":
            onnx.audit_onnx(data, ledger)
        case "numpy":
            npy.audit_npy(data, ledger)
        case "xgboost" | "lightgbm" | "catboost":
            boosters.audit_booster(format, data, ledger)
        case "torch":
            torch.audit_torch(data, ledger, _audit_data)
        case "archive":
            members.audit_archive(data, ledger, _audit_data)
        case _:
            ledger.find(
                "unknown-format", "unreadable", f"a file of format '{format}' can't be audited"
            )
