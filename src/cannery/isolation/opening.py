"""The one place where a foreign pickle is opened: inside the worker, and only with the names that were cleared.

Runs in the worker alone. What reaches a name that was not cleared stops there, before it is imported.
"""

from __future__ import annotations

import bz2
import gzip
import inspect
import io
import lzma
import pickle
import warnings
import zlib
from collections.abc import Callable
from typing import Any

from cannery.blobs import digest_bytes
from cannery.errors import ConversionError, IsolationError, UnsafeError
from cannery.serving.natives import native_problem

_STALE = "Trying to unpickle estimator"
"""How scikit-learn's warning of another version begins, in every version of it."""


def open_bytes(data: bytes, *, format: str, digest: str, names: frozenset[str]) -> Any:  # noqa: A002
    """Return the object in `data`, which must have this digest.

    Raises UnsafeError when a name outside `names` is reached or an index leads nowhere, IsolationError when the bytes or the
    library version are not those that were announced, ConversionError when it can't be opened.
    """
    if digest_bytes(data) != digest:
        raise IsolationError("the worker got other bytes than those that were audited")
    openers: dict[str, Callable[[bytes, frozenset[str]], Any]] = {
        "pickle": _open_pickle,
        "joblib": _open_joblib,
        "skops": open_skops,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=_STALE)
        try:
            opened = openers[format](data, names)
            if problem := native_problem(opened):
                raise UnsafeError(f"the model would read memory that is not its own: {problem}")
            return opened
        except (UnsafeError, ConversionError, IsolationError):
            raise
        except Warning as error:
            raise IsolationError(f"the environment does not fit the model: {error}") from error
        except (EOFError, pickle.UnpicklingError) as error:
            raise ConversionError(
                f"the model file is damaged: {error or 'it ends too early'}"
            ) from error
        except MemoryError:
            raise
        except Exception as error:
            raise ConversionError(f"the model can't be opened: {_told(error)}") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def check_name(module: str, name: str, names: frozenset[str]) -> None:
    """Raise UnsafeError unless exactly this name, in the words of the file, was cleared."""
    if "." in name or f"{module}.{name}" not in names:
        raise UnsafeError(
            f"refused while opening: '{module}.{name}' is not among the names that were cleared",
            hint="audit the file again",
        )


class _ClearedUnpickler(pickle.Unpickler):
    """CPython's unpickler, resolving cleared names and nothing else."""

    def __init__(self, stream: io.BytesIO, names: frozenset[str]) -> None:
        super().__init__(stream)
        self._names = names

    def find_class(self, module: str, name: str, /) -> Any:
        """Return what a cleared name stands for."""
        check_name(module, name, self._names)
        return super().find_class(module, name)


def _open_pickle(data: bytes, names: frozenset[str]) -> Any:
    return _ClearedUnpickler(io.BytesIO(data), names).load()


def decompress(data: bytes) -> bytes:
    """Return the pickle inside one of joblib's compressed containers, recognised by its first bytes."""
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"BZh"):
        return bz2.decompress(data)
    if data.startswith((b"\xfd7zXZ", b"\x5d\x00")):
        return lzma.decompress(data)
    if data.startswith(b"\x04\x22\x4d\x18"):
        import lz4.frame

        return bytes(lz4.frame.decompress(data))
    return zlib.decompress(data) if data.startswith(b"\x78") else data


def _open_joblib(data: bytes, names: frozenset[str]) -> Any:
    """Open a joblib file through joblib's own unpickler, held to the same names in nested streams too."""
    from joblib import numpy_pickle

    class Nested(numpy_pickle.Unpickler):  # type: ignore[misc]
        """The pickle inside an array of objects; it must be read byte by byte, hence not in C."""

        def find_class(self, module: str, name: str) -> Any:
            check_name(module, name, names)
            return super().find_class(module, name)

    class Cleared(numpy_pickle.NumpyUnpickler):  # type: ignore[misc]
        """joblib's unpickler; joblib itself would open nested pickles without any limit before 1.6."""

        dispatch = numpy_pickle.NumpyUnpickler.dispatch.copy()

        def find_class(self, module: str, name: str) -> Any:
            check_name(module, name, names)
            return super().find_class(module, name)

        def load_build(self) -> None:
            numpy_pickle.Unpickler.load_build(self)
            built = self.stack[-1]
            if isinstance(built, numpy_pickle.NDArrayWrapper):
                raise ConversionError(
                    "the model keeps its arrays in files of their own, as joblib did before 0.10",
                    hint="load it where it was made, and dump it with a current joblib",
                )
            if isinstance(built, numpy_pickle.NumpyArrayWrapper):
                self.stack[-1] = self._array(built)

        def _array(self, wrapper: Any) -> Any:
            if wrapper.dtype.hasobject:
                return Nested(self.file_handle).load()
            native = "ensure_native_byte_order" in inspect.signature(wrapper.read).parameters
            return wrapper.read(self, True) if native else wrapper.read(self)

        dispatch[pickle.BUILD[0]] = load_build

    stream = io.BytesIO(decompress(data))
    native = "ensure_native_byte_order" in inspect.signature(Cleared.__init__).parameters
    options = {"ensure_native_byte_order": True} if native else {}
    return Cleared("", stream, **options).load()


def untrusted_types(data: bytes) -> tuple[str, ...]:
    """Return the types in a skops file that skops does not trust by itself; builds nothing."""
    import skops.io

    return tuple(sorted(skops.io.get_untrusted_types(data=data)))


def open_skops(data: bytes, names: frozenset[str]) -> Any:
    """Open a skops file whose types are trusted by skops or were cleared; raises UnsafeError for others."""
    import skops.io

    wanted = untrusted_types(data)
    for name in wanted:
        if name not in names:
            raise UnsafeError(f"the skops file holds the type '{name}', which was not cleared")
    return skops.io.loads(data, trusted=list(wanted))
