"""What shortens a start: work that need not be done, and work that can be done beside the rest."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import TypeVar

Result = TypeVar("Result")


def hurry(*, beside: bool) -> None:
    """Prepare for the imports that follow; the service comes up some 50 ms earlier, and works without it.

    uvicorn's package imports its command line, click and its reloaders; its modules need none of
    these. ONNX Runtime's library takes as long to load as a fifth of all imports: where `beside`, a
    thread does it meanwhile, which must not be where the process forks.
    """
    package = _hollow("uvicorn")
    if package is not None:
        # The one name that its modules import from it.
        package.Config = importlib.import_module("uvicorn.config").Config  # type: ignore[attr-defined]
    if beside:
        threading.Thread(target=_load_onnxruntime, daemon=True).start()


def ahead(work: Callable[[], Result]) -> Callable[[], Result]:
    """Begin what will be asked for soon; return what waits for its result, after which no thread is left."""
    result: Future[Result] = Future()

    def do() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # the caller's to raise
            result.set_exception(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()

    def get() -> Result:
        thread.join()
        return result.result()

    return get


def quieten() -> None:
    """Keep ONNX Runtime, which reads this when its library is loaded, from keeping a session file."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _hollow(name: str) -> ModuleType | None:
    """Let submodules of a package be imported without running its `__init__`, where nobody has run it yet."""
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is None:
        return None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    return module


def _load_onnxruntime() -> None:
    """Load the library that the import will ask for; a foreign call leaves the interpreter to others."""
    with contextlib.suppress(Exception):  # the import says what is wrong
        spec = importlib.util.find_spec("onnxruntime")
        if spec is None or not spec.submodule_search_locations:
            return  # another runtime's image
        quieten()
        import ctypes

        folder = Path(spec.submodule_search_locations[0], "capi")
        for library in folder.glob("onnxruntime_pybind11_state*.so"):
            ctypes.CDLL(None).dlopen(os.fsencode(library), os.RTLD_NOW | os.RTLD_LOCAL)
