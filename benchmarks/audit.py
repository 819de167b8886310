"""The audit beside picklescan, modelscan, fickling and modelaudit, over one corpus in one run.

Hostile files are those of the tests (pickles of every class, and the files around them); benign ones are
estimators and boosters of the libraries that are installed, in every form. Each scanner runs in a process
and, the peers, in an environment of their own, which uv makes under `--work`. Times are of the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from uv import find_uv_bin

ROOT = Path(__file__).parent.parent
PEERS = {
    "picklescan": ("picklescan",),
    "modelscan": ("modelscan",),
    "fickling": ("fickling", "typing-extensions"),
    "modelaudit": ("modelaudit",),
}
"""Scanner → what is installed for it (fickling does not declare all that it imports)."""
SAMPLED = {"modelaudit": 50}
"""Scanner → files of each kind that it looks at, always the same: it takes seconds for one."""
MODELS = (
    "ColumnTransformer", "DecisionTreeClassifier", "ExtraTreesRegressor", "GaussianNB",
    "GradientBoostingClassifier", "HistGradientBoostingClassifier", "IsolationForest", "KMeans",
    "KNeighborsClassifier", "LinearRegression", "LogisticRegression", "MLPClassifier", "PCA",
    "Pipeline", "RandomForestClassifier", "SVC", "SimpleImputer", "StandardScaler",
    "TfidfVectorizer", "catboost-CatBoostClassifier-9", "columns", "function-log1p",
    "lightgbm-LGBMClassifier-6", "value-numpy-0", "value-pandas-0", "xgboost-XGBClassifier-0",
)  # fmt: skip
ENDINGS = {
    "zip": ".zip",
    "tar": ".tar",
    "torch": ".pt",
    "npy": ".npy",
    "npz": ".npz",
    "packed": ".joblib",
}
"""What a file of a class is called; some scanners go by the name."""
_LARGE = 100_000
"""Bytes from which a file tells how fast bytes go by."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one scanner made of the corpus."""

    scanner: str
    files: int
    """How many it looked at."""
    missed: float
    """Share of the hostile files that it did not object to, in percent."""
    accused: float
    """Share of the benign files that it objected to, in percent."""
    median: float
    """Milliseconds of a file."""
    speed: float
    """Megabytes a second, of large benign files."""
    peak: float
    """Megabytes of memory."""


@dataclass(frozen=True, kw_only=True)
class Large:
    """What one scanner made of a file of 500 MB."""

    scanner: str
    kind: str
    seconds: float
    peak: float
    """Megabytes of memory."""


def write_hostile(folder: Path) -> None:
    """Write every hostile case of the tests, under the name that its kind usually has."""
    sys.path[:0] = [str(ROOT / "tests" / "support")]
    import hostile
    import hostile_files

    folder.mkdir(parents=True)
    for number, (kind, make) in enumerate([*hostile.CASES, *hostile_files.CASES]):
        words = kind.replace("+", ":").replace("-", ":").split(":")
        ending = ENDINGS.get(words[0], ".pkl")
        name = kind.replace(":", "_").replace("/", "_")
        folder.joinpath(f"{number:03}-{name}{ending}").write_bytes(make(folder / "marker"))


def write_benign(folder: Path) -> None:
    """Write honest models in every form, and a few that are large."""
    script = ROOT / "tests" / "support" / "corpus.py"
    subprocess.run([sys.executable, str(script), str(folder), *MODELS], check=True)
    folder.joinpath("versions.json").unlink()
    x = np.random.default_rng(0).normal(size=(3000, 300))
    forest = RandomForestClassifier(100, n_jobs=1, random_state=0).fit(x[:, :20], x[:, 0] > 0)
    for name, model in {"forest": forest, "components": PCA(200).fit(x)}.items():
        for ending, compress in (("pkl", 0), ("zlib.joblib", 3)):
            joblib.dump(model, folder / f"large-{name}.{ending}", compress=compress)


def write_large(folder: Path) -> dict[str, float]:
    """Write a file of arrays, plain and compressed; returns the seconds that each takes to decompress."""
    source = np.random.default_rng(0)
    arrays = [source.normal(size=(1 << 16, 16)) for _ in range(62)]
    plain = folder / "plain" / "model.joblib"
    packed = folder / "zlib" / "model.joblib"
    for path, compress in ((plain, 0), (packed, ("zlib", 1))):
        path.parent.mkdir(parents=True)
        joblib.dump(arrays, path, compress=compress)
    began, unpack = time.process_time(), zlib.decompressobj()
    with packed.open("rb") as stream:
        while block := stream.read(1 << 20):
            unpack.decompress(block)
    return {"plain": 0.0, "zlib": time.process_time() - began}


def environment(work: Path, peer: str) -> Path:
    """Return the Python of a peer's own environment, made where it is not there yet."""
    python = work / peer / "bin" / "python"
    if not python.exists():
        subprocess.run(
            [find_uv_bin(), "venv", "-q", "--python", sys.executable, str(work / peer)], check=True
        )
        install = [find_uv_bin(), "pip", "install", "-q", "--python", str(python), *PEERS[peer]]
        subprocess.run(install, check=True)
    return python


def _driven(scanner: str, python: Path, folder: Path) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile() as answers:
        driver = Path(__file__).with_name("audit_drivers.py")
        subprocess.run([str(python), str(driver), scanner, str(folder), answers.name], check=True)
        found: dict[str, Any] = json.loads(Path(answers.name).read_text())
    return found


def measure_large(scanner: str, python: Path, folder: Path) -> list[Large]:
    """Let one scanner look at the large files, each in a process of its own."""
    results = []
    for kind in ("plain", "zlib"):
        found = _driven(scanner, python, folder / kind)
        ((_, taken),) = found["files"].values()
        large = Large(scanner=scanner, kind=kind, seconds=taken / 1000, peak=found["peak"])
        results.append(large)
    return results


def write_sample(corpus: Path, count: int, folder: Path) -> None:
    """Link so many files of each kind, chosen by a fixed seed, into a folder like the corpus."""
    for kind in ("hostile", "benign"):
        folder.joinpath(kind).mkdir()
        for file in random.Random(0).sample(sorted(corpus.joinpath(kind).iterdir()), count):
            os.link(file, folder / kind / file.name)


def measure(scanner: str, python: Path, corpus: Path) -> Result:
    """Let one scanner look at the corpus, or at a sample of it."""
    if scanner not in SAMPLED:
        return _measure(scanner, python, corpus)
    with tempfile.TemporaryDirectory(prefix="cannery-audit-") as folder:
        write_sample(corpus, SAMPLED[scanner], Path(folder))
        return _measure(scanner, python, Path(folder))


def _measure(scanner: str, python: Path, corpus: Path) -> Result:
    found = _driven(scanner, python, corpus)
    files: dict[str, tuple[bool, float]] = found["files"]
    hostile = [bad for name, (bad, _) in files.items() if name.startswith("hostile")]
    benign = [bad for name, (bad, _) in files.items() if name.startswith("benign")]
    large = {
        name: size
        for name in files
        if name.startswith("benign") and (size := corpus.joinpath(name).stat().st_size) > _LARGE
    }
    return Result(
        scanner=scanner,
        files=len(files),
        missed=100 * (1 - statistics.mean(hostile)),
        accused=100 * statistics.mean(benign),
        median=statistics.median(taken for _, taken in files.values()),
        speed=sum(large.values()) / 1e3 / sum(files[name][1] for name in large),
        peak=found["peak"],
    )


def large_table(results: list[Large], unpacked: dict[str, float]) -> str:
    """Return what was measured of the large files as a Markdown table."""
    lines = [
        f"Arrays of 520 MB in one joblib file; zlib alone takes {unpacked['zlib']:.1f} s.",
        "",
        "| | file | time | memory |",
        "|---|---|---:|---:|",
    ]
    lines += [f"| {r.scanner} | {r.kind} | {r.seconds:.2f} s | {r.peak:,.0f} MB |" for r in results]
    return "\n".join(lines)


def table(results: list[Result], counts: dict[str, int]) -> str:
    """Return the results as a Markdown table."""
    samples = "".join(
        f" {r.scanner} looked at {r.files} of them, half of each kind."
        for r in results
        if r.scanner in SAMPLED
    )
    lines = [
        f"{counts['hostile']} hostile and {counts['benign']} benign files.{samples}",
        "",
        "| | hostile files called safe | benign files objected to | a file | large files | memory |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.scanner} | {r.missed:.1f} % | {r.accused:.1f} % | {r.median:.2g} ms"
        f" | {r.speed:,.0f} MB/s | {r.peak:,.0f} MB |"
        for r in results
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the corpus, let every scanner look at it, and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="beside these")
    parser.add_argument("--work", type=Path, default=ROOT / "demo" / "work" / "scanners")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cannery-audit-") as folder:
        corpus = Path(folder)
        write_hostile(corpus / "hostile")
        write_benign(corpus / "benign")
        counts = {kind: len(list((corpus / kind).iterdir())) for kind in ("hostile", "benign")}
        pythons = {"cannery": Path(sys.executable)}
        pythons |= {peer: environment(options.work, peer) for peer in options.peers}
        results = [measure(scanner, python, corpus) for scanner, python in pythons.items()]
        assert not (corpus / "hostile" / "marker").exists(), "a scanner ran a payload"
    with tempfile.TemporaryDirectory(prefix="cannery-audit-") as folder:
        unpacked = write_large(Path(folder))
        large = [
            result
            for scanner, python in pythons.items()
            for result in measure_large(scanner, python, Path(folder))
        ]
    told = {
        "counts": counts,
        "results": [asdict(r) for r in results],
        "large": [asdict(r) for r in large],
        "unpacked": unpacked,
    }
    text = (
        json.dumps(told, indent=2)
        if options.json
        else f"{table(results, counts)}\n\n{large_table(large, unpacked)}"
    )
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
