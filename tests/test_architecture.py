"""The line of imports, the doors, and the purity of the core: what keeps the code where it belongs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "cannery"

LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "errors",
        "addresses blobs bounds caches client indexes options parallel processes progress",
        "signatures",
        "tables settings",
        "sources oci",
        "audits",
        "cans",
        "serving",
        "conversions isolation",
        "images",
        "attestations",
        "engines",
        "proofs scoring",
        "budgets deliveries inputs subjects",
        "builds comparisons deployments explanations line packs sweeps",
        "reports",
        "demo",
        "cli",
    )
)
"""From the bottom up; a module imports from its own layer or a lower one."""

DOORS: dict[str, frozenset[str]] = {
    "subprocess": frozenset({"processes", "indexes"}),
    "pickle": frozenset({"sources.memory", "demo.attack"}),
    "joblib": frozenset({"serving.pickles"}),
    "onnxruntime": frozenset({"serving.scorer"}),
    "grpc": frozenset({"serving.rpc"}),
    "mlflow": frozenset({"sources.mlflow", "sources.publish", "demo.train"}),
}
"""A dangerous or heavy library and the only modules that may import it."""

TRAVELS = frozenset({"errors", "addresses", "blobs", "bounds", "signatures", "cans", "serving"})
"""What of ours goes into an image."""


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name below `cannery`."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        found[".".join(parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Return every module that a file names in an import statement, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def layer(name: str) -> int:
    """Return the layer that the top-level module `name` stands in."""
    for index, members in enumerate(LAYERS):
        if name in members:
            return index
    raise AssertionError(f"'{name}' stands in no layer: add it to LAYERS")


MODULES = modules()


@pytest.mark.parametrize("name", [n for n in MODULES if n not in ("", "__main__")])
def test_imports_go_only_downwards(name: str) -> None:
    """No module imports from a layer above its own."""
    own = layer(name.split(".")[0])
    for imported in imports(MODULES[name]):
        if imported.startswith("cannery."):
            target = imported.split(".")[1]
            if target in {n.split(".")[0] for n in MODULES}:
                assert layer(target) <= own, f"{name} imports {imported}"


@pytest.mark.parametrize("library", sorted(DOORS))
def test_each_danger_has_one_door(library: str) -> None:
    """Only the named modules import the library."""
    users = {
        name
        for name, path in MODULES.items()
        if any(i == library or i.startswith(f"{library}.") for i in imports(path))
    }
    assert users <= DOORS[library]


def test_only_the_opening_imports_names_of_a_file() -> None:
    """A name that is computed is imported by the domain of an opening, and by tables of our own names."""
    imported = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"eval", "exec", "__import__", "importlib.import_module"}
        and not isinstance(node.args[0], ast.Constant)
    }
    ours = {"", "cli.main", "conversions.onnx.emitter"}
    assert imported - ours == {"isolation.objects"}


def test_what_travels_imports_only_what_travels() -> None:
    """The modules that go into an image import no other module of ours."""
    for name, path in MODULES.items():
        if name.split(".")[0] in TRAVELS:
            ours = {i.split(".")[1] for i in imports(path) if i.startswith("cannery.")}
            assert ours <= TRAVELS, f"{name} imports {sorted(ours - TRAVELS)}"


def test_the_library_neither_prints_nor_exits() -> None:
    """Only the command line and the programs inside an image talk to the terminal or end the process."""
    allowed = (
        "cli.",
        "demo.",
        "serving.main",
        "serving.probe",
        "serving.workers",
        "serving.__main__",
        "isolation.inside",
        "isolation.attempts",
        "isolation.bootstrap",
        "indexes",
    )
    for name, path in MODULES.items():
        if name.startswith(allowed) or name == "__main__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"print", "sys.exit", "exit", "os._exit"}, f"{name}: {called}"


def test_no_file_is_a_god() -> None:
    """No source file is past 400 lines."""
    long = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_the_page_on_architecture_draws_the_same_line() -> None:
    """Whoever reads it finds the layers that are held here, from the bottom up."""
    page = (SOURCE.parent.parent / "ARCHITECTURE.md").read_text()
    (line,) = (line for line in page.splitlines() if line.startswith("`errors` ·"))
    assert tuple(frozenset(layer.strip("`").split()) for layer in line.split(" · ")) == LAYERS
