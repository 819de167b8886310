"""Where a foreign model is opened: inside the worker, and only with the names that were cleared.

Runs in the worker alone. What reaches a name that was not cleared stops there, before it is imported.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from cannery.audits.contents import compressor, decompressed
from cannery.audits.limits import Limits
from cannery.audits.machine import Machine
from cannery.audits.opcodes import BrokenProgramError, Data
from cannery.blobs import digest_bytes
from cannery.errors import CanError, ConversionError, IsolationError, UnsafeError
from cannery.isolation.objects import Objects
from cannery.serving.boosters import LIBRARIES, Library, open_booster
from cannery.serving.natives import native_problem

_STALE = "Trying to unpickle estimator"
"""How scikit-learn's warning of another version begins, in every version of it."""
_AGAIN = "audit the file again"
_LIMITS = Limits(memory=1 << 40)
"""What is decompressed stays in the worker's memory, which has a limit of its own."""


def open_bytes(data: Data, *, format: str, digest: str, names: frozenset[str]) -> Any:  # noqa: A002
    """Return the object in `data`, which must have this digest.

    Raises UnsafeError when a name outside `names` is reached or an index leads nowhere, IsolationError when the bytes or the
    library version are not those that were announced, ConversionError when it can't be opened.
    """
    if digest_bytes(memoryview(data)) != digest:
        raise IsolationError("the worker got other bytes than those that were audited")
    openers: dict[str, Callable[[Data, frozenset[str]], Any]] = {
        "pickle": _open_pickle,
        "joblib": _open_joblib,
        "skops": lambda data, names: open_skops(data[:], names),
    }
    openers |= {library: partial(_open_own, library) for library in LIBRARIES}
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
        except BrokenProgramError as broken:
            place = f"{broken.message} (at offset {broken.offset})"
            if broken.severity == "unsafe":
                raise UnsafeError(f"refused while opening: {place}", hint=_AGAIN) from broken
            raise ConversionError(f"the model file is damaged: {place}") from broken
        except MemoryError:
            raise
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        except Exception as error:
            raise ConversionError(f"the model can't be opened: {_told(error)}") from error


def _missing(error: ModuleNotFoundError) -> ConversionError:
    """Return the error for a library that nothing beside the model names; packages mostly have its name."""
    library = (error.name or "").partition(".")[0]
    return ConversionError(
        f"the model can't be opened: {_told(error)}",
        hint="say in cannery.toml with which version of it the model was trained (a module of your own "
        "must be a package of your index first):\n[environment]\n"
        f'versions = {{ {library.replace("_", "-")} = "…" }}',
    )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _open_pickle(data: Data, names: frozenset[str], *, arrays: bool = False) -> Any:
    """Run the program by the machine that audited it, on objects in the place of placeholders."""
    machine = Machine(data, 0, Objects(names, _LIMITS), arrays=arrays)
    if machine.run() != len(data):
        raise UnsafeError("refused while opening: bytes follow the pickle", hint=_AGAIN)
    return machine.result


def _open_joblib(data: Data, names: frozenset[str]) -> Any:
    name = compressor(data)
    if name is None:
        return _open_pickle(data, names, arrays=True)
    with decompressed(data, name, _LIMITS) as inside:
        return _open_pickle(inside, names, arrays=True)


def _open_own(library: Library, data: Data, _: frozenset[str]) -> Any:
    """Open the file of a booster through its own library."""
    try:
        return open_booster(data[:], library)
    except CanError as error:
        raise ConversionError(error.message, hint=error.hint) from error


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
