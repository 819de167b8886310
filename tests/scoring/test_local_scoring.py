"""Files of rows through a can: the same answers in every format, in bounded memory."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_cans import make_can, probability

from cannery.cans.open import Can
from cannery.errors import OutputError, SchemaError, UsageError
from cannery.processes import run
from cannery.scoring.local import ScoreOptions, score
from cannery.tables import read_table, writer

ROWS = [
    {"id": "007", "tenure": 2, "charges": 89.1, "contract": "month"},
    {"id": "008", "tenure": 60, "charges": 20.0, "contract": "year"},
    {"id": "009", "tenure": 1, "charges": 0.1, "contract": "never seen"},
]


@pytest.fixture(scope="module")
def can(tmp_path_factory: pytest.TempPathFactory) -> Can:
    """A sealed can."""
    return make_can(tmp_path_factory.mktemp("cans") / "churn.can")


def _write(path: Path, rows: list[dict]) -> Path:
    with writer(path) as out:
        out.write(pa.RecordBatch.from_pylist(rows))
    return path


@pytest.mark.parametrize("source", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("target", ["csv", "jsonl", "parquet"])
def test_every_format_in_and_out(can: Can, tmp_path: Path, source: str, target: str) -> None:
    """Rows keep their order, the kept column comes first, the answers are exact."""
    rows = _write(tmp_path / f"rows.{source}", ROWS)
    out = tmp_path / f"scores.{target}"
    scored = score(can, rows, out, ScoreOptions(keep=("id",), chunk=2))
    table = read_table(out)
    expected = [probability(r["tenure"], r["charges"], r["contract"]) for r in ROWS]
    assert scored.rows == 3
    assert table.column_names == ["id", "label", "churn"]
    assert table.column("churn").to_pylist() == pytest.approx(expected, abs=1e-15)
    assert table.column("label").to_pylist() == ["Yes", "No", "No"]


def test_what_is_kept_is_kept_as_it_stands(can: Can, tmp_path: Path) -> None:
    """An id of digits with leading zeros comes out with them."""
    rows = _write(tmp_path / "rows.csv", ROWS)
    score(can, rows, tmp_path / "out.jsonl", ScoreOptions(keep=("id", "tenure")))
    first = (tmp_path / "out.jsonl").read_text().splitlines()[0]
    assert first.startswith('{"id":"007","tenure":2,"label":"Yes","churn":0.')


def test_no_rows_give_an_empty_answer(can: Can, tmp_path: Path) -> None:
    """The output has its header all the same."""
    (tmp_path / "rows.csv").write_text("tenure,charges,contract\n")
    assert score(can, tmp_path / "rows.csv", tmp_path / "out.csv").rows == 0
    assert (tmp_path / "out.csv").read_text() == '"label","churn"\n'


def test_a_bad_row_leaves_no_output(can: Can, tmp_path: Path) -> None:
    """The message names row and column; nothing half-written is left."""
    rows = tmp_path / "rows.csv"
    rows.write_text("tenure,charges,contract\n" + "1,1.0,a\n" * 5 + "1,lots,a\n")
    with pytest.raises(SchemaError, match="row 6, column 'charges': expected a number, got 'lots'"):
        score(can, rows, tmp_path / "out.csv", ScoreOptions(chunk=2))
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


def test_an_output_that_exists_is_kept(can: Can, tmp_path: Path) -> None:
    """Only `force` replaces it."""
    rows = _write(tmp_path / "rows.csv", ROWS)
    (tmp_path / "out.csv").write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        score(can, rows, tmp_path / "out.csv")
    score(can, rows, tmp_path / "out.csv", ScoreOptions(force=True))
    assert (tmp_path / "out.csv").read_text().startswith('"label"')


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (ScoreOptions(keep=("customer",)), "no column 'customer'"),
        (ScoreOptions(keep=("label",)), "two columns 'label'"),
        (ScoreOptions(keep=("id", "id")), "two columns 'id'"),
        (ScoreOptions(chunk=0), "chunk of 0 rows"),
    ],
)
def test_options_that_cannot_be_meant(
    can: Can, tmp_path: Path, options: ScoreOptions, part: str
) -> None:
    """They are refused before anything is scored."""
    rows = _write(tmp_path / "rows.csv", ROWS)
    with pytest.raises(UsageError, match=part):
        score(can, rows, tmp_path / "out.csv", options)


def test_progress_grows_to_the_end(can: Can, tmp_path: Path) -> None:
    """Rows and share are told after each chunk."""
    told: list[tuple[int, float | None]] = []
    rows = _write(tmp_path / "rows.parquet", ROWS)
    score(can, rows, tmp_path / "out.csv", ScoreOptions(chunk=2), lambda *at: told.append(at))
    assert told == [(2, pytest.approx(2 / 3)), (3, 1.0)]


MILLION = """
import sys
from pathlib import Path
from cannery.cans.open import open_can
from cannery.scoring.local import score

def peak() -> int:
    # Not ru_maxrss: that counts the process that started this one too.
    return int(next(s.split()[1] for s in open("/proc/self/status") if s.startswith("VmHWM")))

can, source, target = map(Path, sys.argv[1:])
opened = open_can(can)
before = peak()
scored = score(opened, source, target)
after = peak()
print(scored.rows, (after - before) // 1024)
"""


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_million_rows_in_bounded_memory(can: Can, tmp_path: Path, suffix: str) -> None:
    """A million rows are scored with less than 400 MB more than before."""
    piece = pa.table(
        {
            "tenure": [i % 73 for i in range(10_000)],
            "charges": [i / 100 for i in range(10_000)],
            "contract": [("month", "year", "two years")[i % 3] for i in range(10_000)],
        }
    )
    table = pa.concat_tables([piece] * 100).combine_chunks()
    source, target = tmp_path / f"rows.{suffix}", tmp_path / "scores.parquet"
    with writer(source) as out:
        out.write(table.to_batches()[0])
    done = run([sys.executable, "-c", MILLION, can.folder, source, target])
    assert done.ok, done.complaint
    rows, grown = map(int, done.stdout.split())
    assert rows == pq.ParquetFile(target).metadata.num_rows == 1_000_000
    assert grown < 400
