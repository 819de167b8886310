"""The commands that take a can: smoke, score, serve, health, build, verify."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import httpx
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fake_registries import State, fake_registry
from projects import CUSTOMER

from cannery.attestations.signatures import pem_of
from cannery.engines.asking import free_port
from cannery.processes import run, started


def test_smoke_prints_the_canary_s_answer(cannery, can) -> None:
    """The answer is one probability, as JSON on stdout."""
    done = cannery("smoke", can)
    assert done.ok, done.complaint
    assert 0 <= json.loads(done.stdout)["churn_probability"] <= 1


def test_a_damaged_can_is_refused(cannery, can, tmp_path) -> None:
    """One changed byte of the model: nothing is loaded, the file is named."""
    broken = tmp_path / "broken.can"
    shutil.copytree(can, broken)
    model = broken / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    done = cannery("smoke", broken)
    assert done.status == 2
    assert "model.onnx" in done.complaint
    assert "Traceback" not in done.complaint


def test_score_answers_every_row_in_order(cannery, can, churn, tmp_path, classifier) -> None:
    """A CSV of customers becomes a CSV of answers, equal to the original's."""
    rows = churn.head(50)
    rows.to_csv(tmp_path / "in.csv", index=False)
    done = cannery(
        "score", can, tmp_path / "in.csv", "-o", tmp_path / "out.csv", "--keep", "tenure"
    )
    assert done.ok, done.complaint
    answers = pd.read_csv(tmp_path / "out.csv")
    assert list(answers.columns) == ["tenure", "churn_probability"]
    expected = classifier.predict_proba(rows[classifier.feature_names_in_])[:, 1]
    assert answers["churn_probability"].to_list() == pytest.approx(list(expected), abs=1e-9)


def test_score_streams(cannery, can, churn) -> None:
    """From stdin to stdout, as JSON Lines."""
    lines = churn.head(3).to_json(orient="records", lines=True).encode()
    formats = ("--input-format", "jsonl", "--output-format", "jsonl")
    done = cannery("score", can, "-", "-o", "-", *formats, stdin=lines)
    assert done.ok, done.complaint
    assert len(done.stdout.splitlines()) == 3


def test_a_bad_cell_is_named_by_row_and_column(cannery, can, churn, tmp_path) -> None:
    """The first cell that is no number is named, and no output is left."""
    rows = churn.head(9).astype({"tenure": object})
    rows.loc[4, "tenure"] = "many"
    rows.to_csv(tmp_path / "in.csv", index=False)
    done = cannery("score", can, tmp_path / "in.csv", "-o", tmp_path / "out.csv")
    assert done.status == 2
    assert "tenure" in done.complaint
    assert "5" in done.complaint
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--tls-cert", "/nowhere"), "TLS_CERT and TLS_KEY must be set together"),
        (("--token-file", "/nowhere"), "TOKEN_FILE '/nowhere' can't be read"),
        (("--workers", "lots"), "WORKERS is 'lots'"),
        (("--watch", "0"), "0 is not in the range"),
        (("--grpc-port", "65536"), "65536 is not in the range"),
    ],
)
def test_serve_names_an_option_that_cannot_be_meant(cannery, can, words, complaint) -> None:
    """Before anything is loaded, in one line, with exit code 2."""
    done = cannery("serve", can, *words)
    assert done.status == 2
    assert complaint in done.complaint
    assert "Traceback" not in done.complaint


def test_serve_answers_and_leaves_on_sigterm(can, tmp_path) -> None:
    """The same service on this machine: healthy, answering, and gone with status 0."""
    port = free_port()
    words = [sys.executable, "-m", "cannery", "serve", can, "--port", str(port)]
    with started(words, cwd=tmp_path, stdout=None, stderr=None) as process:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 60
        while True:
            try:
                assert httpx.get(f"{url}/health", timeout=2).status_code == 200
                break
            except httpx.HTTPError:
                assert time.monotonic() < end
                time.sleep(0.1)
        assert list(httpx.post(f"{url}/predict", json=CUSTOMER).json()) == ["churn_probability"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_health_of_nothing_is_no(cannery) -> None:
    """Where nothing listens, `health` says so and exits with 1."""
    done = cannery("health", "http://127.0.0.1:9")
    assert done.status == 1
    assert "127.0.0.1:9" in done.complaint


def test_a_can_becomes_a_layout_without_any_engine(cannery, can, project) -> None:
    """With the sandbox alone, `build` leaves an archive and a layout, and `verify` passes on it."""
    done = cannery("build", can, "-t", "churn:v1", "--engine", "sandbox", "--json")
    assert done.ok, done.complaint
    built = json.loads(done.stdout)
    assert built["delivered"] == ["archive churn-v1.tar", "OCI layout churn-v1.oci"]
    assert (project / "churn-v1.tar").is_file()
    assert (project / "cannery.lock").is_file()
    refused = cannery("verify", "churn-v1.oci", "--engine", "sandbox", "--attest")
    assert "nothing can be attached to 'churn-v1.oci'" in refused.complaint
    proven = cannery("verify", "churn-v1.tar", "--engine", "sandbox", "--json")
    assert proven.ok, proven.complaint
    assert all(check["passed"] for check in json.loads(proven.stdout)["checks"])


def test_a_can_is_signed_and_checked(cannery, can, project) -> None:
    """Exit code 0 for whom it was signed by, 1 for another key and without a signature; never started as an image."""
    for name in ("mine", "other"):
        words = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        assert run([*words, "-out", project / f"{name}.pem"]).ok
        words = ["openssl", "pkey", "-in", project / f"{name}.pem", "-pubout"]
        assert run([*words, "-out", project / f"{name}.pub"]).ok
    done = cannery("verify", can, "--key", "mine.pub")
    assert (done.status, "nobody signed the can" in done.complaint) == (1, True)
    try:
        assert cannery("sign", can, "--key", "mine.pem").ok
        done = cannery("verify", can, "--key", "mine.pub")
        assert done.ok
        assert "are signed by this key" in done.stdout.decode()
        assert cannery("verify", can, "--key", "other.pub").status == 1
    finally:
        can.with_name(can.name + ".sig").unlink()
    assert "cannery smoke" in cannery("verify", can).complaint
    with fake_registry(State()) as host:
        assert cannery("push", can, f"{host}/cans/churn:1").ok
        done = cannery("verify", f"{host}/cans/churn:1", "--engine", "sandbox")
    assert (done.status, "is a can, and no image" in done.complaint) == (2, True)


def test_a_known_vulnerability_stops_a_build_before_it_is_tried(cannery, can, project) -> None:
    """Exit code 1 with package, advisory and remedy, and no file; with a reason it is lived with."""
    record = {
        "id": "CVE-2026-1",
        "modified": "2026-11-20T00:00:00Z",
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
            }
            for ecosystem, name in (("PyPI", "numpy"), ("Debian:13", "other"))
        ],
    }
    (project / "advisories").mkdir()
    (project / "advisories" / "CVE-2026-1.json").write_text(json.dumps(record))
    settings = project / "cannery.toml"
    settings.write_text('[image]\ncve = ["advisories"]\n')
    done = cannery("build", can, "-t", "churn:v1", "--engine", "sandbox")
    assert done.status == 1
    assert "numpy" in done.complaint
    assert "CVE-2026-1, fixed in 99" in done.complaint
    assert "cannery update" in done.complaint
    assert "prove" not in done.complaint
    assert list(project.glob("churn-v1*")) == []
    settings.write_text(
        settings.read_text() + "[image.accepted]\nCVE-2026-1 = 'not reached, reviewed'\n"
    )
    done = cannery("build", can, "-t", "churn:v1", "--engine", "sandbox", "--json")
    assert done.ok, done.complaint
    ((finding,),) = (report["findings"] for report in json.loads(done.stdout)["advisories"])
    assert (finding["package"], finding["accepted"]) == ("numpy", "not reached, reviewed")


def test_an_existing_archive_is_kept(cannery, can, project) -> None:
    """`build` refuses before it works, and does not replace what exists."""
    (project / "churn-v1.tar").write_text("mine")
    done = cannery("build", can, "-t", "churn:v1", "--engine", "sandbox")
    assert done.status == 2
    assert "'churn-v1.tar' exists already" in done.complaint
    assert (project / "churn-v1.tar").read_text() == "mine"


def test_force_replaces_a_layout_and_nothing_else(cannery, can, project) -> None:
    """A folder that is no layout is refused before any work, whatever is forced; so is the folder itself."""
    (project / "thesis").mkdir()
    (project / "thesis" / "chapter.tex").write_text("years")
    words = ("build", can, "-t", "churn:v1", "--engine", "sandbox", "--force", "--to")
    done = cannery(*words, "oci:thesis")
    assert done.status == 2
    assert "'thesis' exists and is not an OCI layout" in done.complaint
    assert "compose" not in done.complaint
    assert (project / "thesis" / "chapter.tex").read_text() == "years"
    assert cannery(*words, "oci:.").status == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-t", "Churn Model"), "Churn Model"),
        (("-t", "churn:v1", "--to", "floppy"), "floppy"),
        (("-t", "churn:v1", "--engine", "vmware"), "vmware"),
        (("-t", "churn:v1", "--to", "registry"), "names no registry"),
    ],
)
def test_what_build_can_t_mean_is_said(cannery, can, words, said) -> None:
    """A wrong tag, destination or engine is one clear line, before any work."""
    done = cannery("build", can, *words)
    assert done.status == 2
    assert said in done.complaint
    assert "Traceback" not in done.complaint


def test_audit_tells_as_json(cannery, project) -> None:
    """The document has verdict and names; exit code 0 for a safe file."""
    done = cannery("audit", "churn.pkl", "--json")
    (document,) = json.loads(done.stdout)
    assert done.status == 0
    assert document["verdict"] == "safe"
    assert "sklearn.pipeline.Pipeline" in {n["name"] for n in document["names"]}


def test_an_unknown_name_is_reviewed_and_trusted_by_policy(cannery, project) -> None:
    """The report gives the exact line; with it in cannery.toml the audit passes."""
    (project / "own.pkl").write_bytes(b"cacme.features\nRatio\n.")
    done = cannery("audit", "own.pkl")
    assert done.status == 1
    assert 'names."acme.features.Ratio"' in done.stdout.decode()
    (project / "cannery.toml").write_text(
        '[trust]\nnames."acme.features.Ratio" = "pure numpy, reviewed"\n'
    )
    assert cannery("audit", "own.pkl").status == 0


def test_a_folder_is_served_only_where_the_key_vouches_for_it(cannery, can, tmp_path) -> None:
    """PULL_KEY holds for a can on this machine as for one that is pulled."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "key.pub").write_bytes(pem_of(public))
    done = cannery("serve", can, "--port", "0", PULL_KEY=str(tmp_path / "key.pub"))
    assert done.status == 1
    assert "nobody signed the can" in done.complaint


def test_doctor_says_what_is_here(cannery) -> None:
    """Every engine and sandbox is listed, with where settings come from."""
    done = cannery("doctor")
    assert done.ok, done.complaint
    for word in ("engine docker", "sandbox bubblewrap", "debian mirror", "cache"):
        assert word in done.stdout.decode()


def test_doctor_tells_no_password(cannery) -> None:
    """What it says is pasted into reports: addresses are shown without name and password."""
    secret = "https://ann:hunter2@packages.example"
    addresses = {"PIP_EXTRA_INDEX_URL": secret, "MLFLOW_TRACKING_URI": secret}
    for words in ((), ("--json",)):
        said = cannery("doctor", *words, CANNERY_DEBIAN_MIRROR=secret, **addresses).stdout.decode()
        assert said.count("https://***@packages.example") == 3
        assert "hunter2" not in said


def test_every_command_has_help(cannery_in, tmp_path) -> None:
    """`--help` of every command says what it does and exits with 0."""
    from cannery.cli.main import COMMANDS

    command = cannery_in(tmp_path)
    for name in COMMANDS:
        done = command(name, "--help", COLUMNS="100")
        assert done.ok, done.complaint
        assert b"Usage: cannery" in done.stdout


@pytest.mark.slow
def test_the_demo_ends_well_without_an_engine(tmp_path: Path) -> None:
    """The whole tour on real data, with no Docker: two images, one attack refused, exit code 0."""
    env = {**os.environ, "CANNERY_ENGINE": "sandbox"}
    words = [sys.executable, "-m", "cannery", "demo", "--work", "tour"]
    with started(words, cwd=tmp_path, env=env) as process:
        out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err.decode()[-3000:]
    said = out.decode()
    assert "1 of 7" in said
    assert "not there" in said
    assert "churn_probability" in said
    assert not (tmp_path / "tour" / "stolen").exists()
