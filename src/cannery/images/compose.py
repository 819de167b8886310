"""Compose an image without a daemon: from a lock and a can to layers, config and manifest."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from cannery.blobs import Blob, canonical_json, digest_bytes
from cannery.cans.manifest import CanManifest, File, Runtime, read_manifest
from cannery.cans.open import MANIFEST
from cannery.errors import ImageError
from cannery.images.bases.debian import base_tree, python_tree
from cannery.images.bases.foreign import base_image, fetch_base
from cannery.images.bytecode import Compiler, Interpreter, base_interpreter, debian_interpreter
from cannery.images.config import config_of
from cannery.images.contents import Contents, Included, included
from cannery.images.elf import check_machine
from cannery.images.layers import Recipe, find_layer, layer_of_files, make_layer
from cannery.images.lock import fetch, host_architecture
from cannery.images.packages import DebianPackage, Platform, Wheel
from cannery.images.plan import Plan
from cannery.images.recipe import (
    BASE_PACKAGES,
    CAN,
    EXTRAS,
    LINKED,
    PYTHON_PACKAGES,
    Extra,
    name_of,
    python_cuts,
    wheel_cuts,
)
from cannery.images.serving_files import serving_tree
from cannery.images.store import Store
from cannery.images.trees import Parts, merge, safe_path
from cannery.images.wheels import cut_wheels, wheel_tree
from cannery.oci.descriptors import Architecture, Image, Layer, manifest_of
from cannery.progress import Progress, Station, quiet, station

_SMALL = frozenset(
    [
        "click",
        "httptools",
        "msgspec",
        "uvicorn",
        "uvloop",
    ]
)
"""Wheels of the layer `dependencies`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """An image, and what each of its layers holds."""

    image: Image
    contents: dict[str, Contents]
    """Layer's name → packages in it, and what was left out with the reason."""


def compose(plan: Plan, store: Store | None = None, progress: Progress = quiet) -> Image:
    """Return the image of `plan`; layers made before from the same inputs are taken from the store.

    Raises ImageError when something does not fit, UnreachableError when something is neither kept nor fetchable.
    """
    return composed(plan, store, progress).image


def composed(plan: Plan, store: Store | None = None, progress: Progress = quiet) -> Composition:
    """Compose, and also tell what is inside."""
    store = store or Store()
    _check(plan)
    with station("compose", progress) as work:
        base, layers = _shared_layers(plan, store, work)
        if plan.mode == "bake":
            layers.append(_can_layer(plan, store))
        config = config_of(plan, layers, base)
        only = tuple(layer for layer, _ in layers)
        image = Image(
            config=config,
            manifest=manifest_of(config, only, plan.media),
            layers=only,
            media=plan.media,
            architecture=plan.architecture,
        )
        work.result(
            f"linux/{plan.architecture}, {len(only)} layers, {image.size / 1e6:.1f} MB ({image.unpacked / 1e6:.1f} unpacked)"
        )
    return Composition(image=image, contents={layer.name: c for layer, c in layers})


def _check(plan: Plan) -> None:
    if plan.mode == "bake" and (plan.can is None or plan.manifest is None):
        raise ImageError("bake mode needs a can", hint="give one, or compose in pull mode")
    if plan.manifest is not None and plan.manifest.runtime != plan.runtime:
        raise ImageError(
            f"the can runs on {plan.manifest.runtime}, but the lock is for {plan.runtime}",
            hint="resolve the lock anew for this can",
        )


def _shared_layers(
    plan: Plan, store: Store, work: Station
) -> tuple[Image | None, list[tuple[Layer, Contents]]]:
    """Return the base, where it is an image, and all layers but the can's.

    They are found, or made under a lock so that two builds don't do it twice.
    """
    platform = plan.lock.platforms.get(plan.architecture)
    with ExitStack() as stack:
        recipes = _recipes(plan, platform, store, stack) if platform else []
        found = [find_layer(recipe, store) for recipe in recipes]
        if platform is None or None in found:
            stack.enter_context(store.locked("layers"))
            work.note("fetching packages")
            platform = fetch(plan.lock, plan.architecture, store, mirror=plan.mirror)
            _fetch_compiler(plan, store)
            found = _made(recipes, store, work)
        layers = [layer for layer in found if layer is not None]
        if platform.image is None:
            return None, layers
        fetch_base(platform.image, store, work.note)
        base = base_image(platform.image, store)
        return base, [*((layer, Contents()) for layer in base.layers), *layers]


def _made(
    recipes: list[Recipe], store: Store, work: Station
) -> list[tuple[Layer, Contents] | None]:
    """Find or make every layer, as many at a time as there are processors."""

    def one(recipe: Recipe) -> tuple[Layer, Contents]:
        known = find_layer(recipe, store)
        if known is not None:
            return known
        work.note(f"making layer {recipe.name}")
        return make_layer(recipe, store)

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, recipes))


def _recipes(plan: Plan, platform: Platform, store: Store, stack: ExitStack) -> list[Recipe]:
    """Return how each layer is made, from what changes least to what changes most."""
    compiler = Compiler(interpreter=_interpreter(plan, store), stack=stack, store=store)
    below = [] if platform.image else _debian_recipes(plan.runtime, platform, store, compiler)
    return [
        *below,
        *(
            _wheel_recipe(name, wheels, plan, compiler, store)
            for name, wheels in _groups(platform.wheels, plan.lock.extras)
        ),
        _serving_recipe(compiler),
    ]


def _interpreter(plan: Plan, store: Store) -> Interpreter:
    machine = _compiling(plan)
    platform = plan.lock.platforms[machine]
    if platform.image is not None:
        return base_interpreter(platform.image, store)
    return debian_interpreter(platform.debian, machine, store)


def _debian_recipes(
    runtime: Runtime, platform: Platform, store: Store, compiler: Compiler
) -> list[Recipe]:
    debian = {package.name: package for package in platform.debian}
    base = [_known(debian, name) for name in BASE_PACKAGES]
    python = [_known(debian, name) for name in PYTHON_PACKAGES]
    linked = [debian[name] for name in LINKED.values() if name in debian]
    cuts = python_cuts(runtime)

    def of_python() -> Parts:
        parts = python_tree(python, store, cuts)
        lighter, sources = compiler.as_bytecode(parts.tree)
        return replace(parts, tree=lighter, left_out=(*parts.left_out, sources))

    return [
        Recipe(
            name="base",
            inputs=[package.sha256 for package in base],
            packages=included(base),
            build=lambda: base_tree(base, store),
        ),
        Recipe(
            name="python",
            inputs=[[package.sha256 for package in python], [cut.pattern for cut in cuts]],
            packages=included(python),
            build=of_python,
        ),
        *([_linked_recipe(linked, store)] if linked else ()),
    ]


def _linked_recipe(packages: list[DebianPackage], store: Store) -> Recipe:
    """Return how the layer is made of what the model's libraries link."""
    return Recipe(
        name="linked",
        inputs=[package.sha256 for package in packages],
        packages=included(packages),
        build=lambda: python_tree(packages, store, ()),
    )


def _wheel_recipe(
    name: str, wheels: list[Wheel], plan: Plan, compiler: Compiler, store: Store
) -> Recipe:
    cuts, architecture = wheel_cuts(plan.runtime), plan.architecture

    def build() -> Parts:
        trees = {wheel.name: wheel_tree(wheel, store) for wheel in wheels}
        tree, left_out = cut_wheels(merge(trees.values(), f"layer {name}"), cuts)
        check_machine(tree, architecture, f"layer {name}")
        owners = {path: package for package, files in trees.items() for path in files}
        return Parts(tree=compiler.with_bytecode(tree), owners=owners, left_out=tuple(left_out))

    return Recipe(
        name=name,
        inputs=[
            compiler.version,
            [cut.pattern for cut in cuts],
            *(wheel.sha256 for wheel in wheels),
        ],
        packages=included(wheels),
        build=build,
    )


def _serving_recipe(compiler: Compiler) -> Recipe:
    tree = serving_tree()
    version = importlib.metadata.version("cannery")
    return Recipe(
        name="serving",
        inputs=[compiler.version, {p: digest_bytes(e.data or b"") for p, e in tree.items()}],
        packages=(Included(name="cannery", version=version, reason="serves the can"),),
        build=lambda: Parts(
            tree=compiler.with_bytecode(tree, remembered=True),
            owners=dict.fromkeys(tree, "cannery"),
        ),
    )


def _groups(wheels: Iterable[Wheel], extras: Iterable[Extra]) -> list[tuple[str, list[Wheel]]]:
    """Return wheels by layer, in the order of the layers; a layer without wheels is not made."""
    groups: dict[str, list[Wheel]] = {
        n: [] for n in ("numpy", "onnxruntime", "libraries", "extras", "dependencies")
    }
    extra = {name_of(requirement) for name in extras for requirement in EXTRAS[name]}
    for wheel in sorted(wheels, key=lambda w: w.name):
        if wheel.name in ("numpy", "onnxruntime"):
            groups[wheel.name].append(wheel)
        elif wheel.name in extra:
            groups["extras"].append(wheel)
        else:
            groups["dependencies" if wheel.name in _SMALL else "libraries"].append(wheel)
    return [(name, group) for name, group in groups.items() if group]


def _known(packages: dict[str, DebianPackage], name: str) -> DebianPackage:
    if name not in packages:
        raise ImageError(f"the lock has no '{name}'", hint="resolve it anew")
    return packages[name]


def _compiling(plan: Plan) -> Architecture:
    """Return whose Python compiles: this machine's, at the very version of the image's."""
    host = host_architecture()
    if host == plan.architecture:
        return host
    versions = {
        architecture: _python_version(platform)
        for architecture, platform in plan.lock.platforms.items()
    }
    if versions.get(host) is None or versions.get(host) != versions.get(plan.architecture):
        raise ImageError(
            f"the lock has no Python for '{host}' to compile the image for '{plan.architecture}'",
            hint=f"resolve the lock for {host} too",
        )
    return host


def _python_version(platform: Platform) -> str | None:
    if platform.image is not None:
        return platform.image.version
    return {p.name: p.version for p in platform.debian}.get(PYTHON_PACKAGES[-1])


def _fetch_compiler(plan: Plan, store: Store) -> None:
    machine = _compiling(plan)
    if machine != plan.architecture:
        fetch(plan.lock, machine, store, mirror=plan.mirror, wheels=False)


def _can_layer(plan: Plan, store: Store) -> tuple[Layer, Contents]:
    """Return the layer with the can: not compressed (weights hardly shrink), and not copied."""
    assert plan.can is not None
    assert plan.manifest is not None
    files = _can_files(plan.can, plan.manifest)
    layer = layer_of_files("can", CAN, files, store)
    model = Included(
        name=plan.manifest.name,
        version=plan.manifest.version,
        reason="the model",
        files=len(files),
        bytes=sum(blob.size for blob in files.values()),
    )
    return layer, Contents(packages=(model,))


def _can_files(folder: Path, manifest: CanManifest) -> dict[str, Blob]:
    """Return the can's files as it lists them; what it does not list stays out."""
    for name in manifest.files:
        safe_path(name, str(folder))
    own = _manifest_bytes(folder, manifest)
    files = {MANIFEST: File(digest=digest_bytes(own), size=len(own)), **manifest.files}
    return {n: Blob(path=folder / n, digest=f.digest, size=f.size) for n, f in files.items()}


def _manifest_bytes(folder: Path, manifest: CanManifest) -> bytes:
    """Return `can.json` as it lies there, if it says what `manifest` does: an older Cannery wrote fewer fields."""
    try:
        data = (folder / MANIFEST).read_bytes()
        if read_manifest(data) == manifest:
            return data
    except OSError as error:
        raise ImageError(f"can't read '{folder / MANIFEST}': {error.strerror}") from error
    except msgspec.MsgspecError:
        pass
    return canonical_json(manifest)
