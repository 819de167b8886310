"""`cannery verify`: start a finished image and try it."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from cannery.attestations.statements import PROOF, attestation
from cannery.cans.open import MANIFEST, Can, open_can
from cannery.cli.main import print_json, talks
from cannery.cli.sign import read_key
from cannery.engines.choose import detect
from cannery.engines.engine import Engine, Mount
from cannery.errors import CanneryError, EngineError, UsageError
from cannery.images.lock import host_architecture
from cannery.images.recipe import CAN
from cannery.oci.descriptors import Image
from cannery.oci.layout import MARK, read_layout
from cannery.oci.references import Reference, parse
from cannery.oci.saved import read_archive
from cannery.progress import station
from cannery.proofs.contracts import CONTRACTS
from cannery.proofs.nouns import Proof, require
from cannery.proofs.prove import ProofOptions, prove
from cannery.reports.text import ticker
from cannery.subjects import archive_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey


@click.command("verify")
@click.argument("image", metavar="IMAGE|oci:FOLDER|archive:FILE")
@click.option(
    "--can",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="For an image without a can inside: the can to lend it.",
)
@click.option("--engine", metavar="NAME", help="docker, podman or sandbox.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="Check by this public key who signed a can (in CAN.sig), or an image in its registry and what is attached; nothing is started.",
)
@click.option(
    "--attest",
    is_flag=True,
    help="Take the image from its registry, and attach the proof to it there if everything passed.",
)
@click.option("--shell", is_flag=True, help="Allow a shell in it, as on somebody else's base.")
@click.option("--json", "as_json", is_flag=True, help="Print the proof as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    image: str,
    can: Path | None,
    engine: str | None,
    key: Path | None,
    attest: bool,
    shell: bool,
    as_json: bool,
) -> None:
    """Start a finished image, locked up as a platform would, and try all that it must do.

    That it does once for each platform too (SageMaker, Vertex AI, Cloud Run, KServe, Azure ML, Lambda),
    with the user, port, variables and requests of each. An image that no engine here knows is taken from its registry.

    Exit code 0: everything passed. 1: something did not.
    """
    if key is not None:
        _check_signatures(image, key, as_json=as_json)
        return
    if (Path(image) / MANIFEST).is_file():
        raise _no_image(image)
    runner = detect(engine)
    with contextlib.ExitStack() as after:
        scratch = Path(after.enter_context(tempfile.TemporaryDirectory(prefix="cannery-")))
        found = _found(image, runner, scratch, attest=attest)
        subject = found if isinstance(found, str) else runner.load(found)
        if isinstance(found, Image):  # the user's own stays, named or not
            after.callback(runner.release, subject)
        sealed = open_can(can) if can else _can_inside(runner, subject, scratch)
        mounts = (Mount(source=can.resolve(), target=f"/{CAN}"),) if can else ()
        options = ProofOptions(mounts=mounts, shell=shell, contracts=CONTRACTS)
        with (
            ticker(silent=not talks(ctx) or as_json) as progress,
            station("prove", progress) as work,
        ):
            proof = prove(
                runner,
                subject,
                sealed.canary(),
                sealed.manifest,
                options,
                digest=sealed.digest,
                note=work.note,
            )
            work.result(f"{image} in {runner.name}")
    if as_json:
        print_json(msgspec.to_builtins(proof))
    else:
        _show(proof)
    require(proof)
    if attest and isinstance(found, Image):
        _attest(found, parse(image), proof)


def _check_signatures(image: str, key: Path, *, as_json: bool) -> None:
    from cannery.attestations.signatures import read_public_key
    from cannery.attestations.vouching import require_vouched, verify_image
    from cannery.oci.transfer import open_registry

    public = read_public_key(read_key(key))
    if (Path(image) / MANIFEST).is_file():
        _check_can(Path(image), public, as_json=as_json)
        return
    reference = parse(image)
    with open_registry(reference) as registry:
        found = verify_image(registry, reference, public)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        for part in found:
            words = part.trouble or "signed by this key"
            click.echo(f"{'✗' if part.trouble else '✓'} {part.what:<50} {words}")
    require_vouched(found, image)


def _check_can(folder: Path, key: EllipticCurvePublicKey, *, as_json: bool) -> None:
    from cannery.attestations.models import verify_can
    from cannery.cans.vouchers import signature_place

    can, place = open_can(folder), signature_place(folder)
    verify_can(can, place, key)
    if as_json:
        print_json({"can": can.digest, "signature": str(place)})
    else:
        click.echo(
            f"✓ {folder}: all of its {len(can.manifest.files) + 1} files are signed by this key"
        )


def _found(image: str, engine: Engine, scratch: Path, *, attest: bool) -> Image | str:
    """Return the image of a layout or a registry, or the name under which the engine has it."""
    folder = Path(image.removeprefix("oci:"))
    archive = archive_of(image)
    layout = image.startswith("oci:") or (folder / MARK).is_file()
    if attest and (archive or layout):
        raise UsageError(
            f"nothing can be attached to '{image}'", hint="push it, and verify it in its registry"
        )
    if archive is not None:
        return read_archive(archive, scratch / "archive", host_architecture())
    if layout:
        return read_layout(folder, architecture=host_architecture())
    reference = parse(image)
    if attest or (reference.registry is not None and not _knows(engine, image)):
        from cannery.oci.copies import is_can, pull_image
        from cannery.oci.transfer import fixed, open_registry

        with open_registry(reference) as registry:
            reference = fixed(reference, registry)
            if is_can(reference, registry):
                raise _no_image(image)
            folder = pull_image(reference, scratch / "layout", registry)
        return read_layout(folder, architecture=host_architecture())
    if engine.name == "sandbox":
        raise UsageError(f"'{image}' is known to no engine here", hint="name a layout: oci:FOLDER")
    engine.settings(image)  # says clearly that there is no such image
    return image


def _no_image(can: str) -> UsageError:
    return UsageError(
        f"'{can}' is a can, and no image that could be started",
        hint="cannery smoke tries one in a folder; --key checks who signed it",
    )


def _knows(engine: Engine, image: str) -> bool:
    try:
        engine.settings(image)
    except EngineError:
        return False
    return True


def _attest(image: Image, reference: Reference, proof: Proof) -> None:
    from cannery.oci.referrers import attach
    from cannery.oci.transfer import open_registry

    document = attestation(image, reference.name, PROOF, msgspec.to_builtins(proof))
    with open_registry(reference) as registry:
        attach(registry, reference.repository, image.descriptor, document)


def _can_inside(engine: Engine, subject: str, scratch: Path) -> Can:
    try:
        return open_can(engine.extract(subject, CAN, scratch / "can"))
    except CanneryError as error:
        raise UsageError(
            f"'{subject}' has no can inside: {error.message}",
            hint="lend it one with --can, if it is an image for pull mode",
        ) from error


def _show(proof: Proof) -> None:
    screen = Console(highlight=False, soft_wrap=True)
    for check in proof.checks:
        mark = "[green]✓[/]" if check.passed else "[red]✗[/]"
        screen.print(
            f"{mark} {check.name:<15} {escape(check.detail)} [dim]{check.seconds:.2f} s[/]"
        )
    if proof.cold_start is not None:
        memory = f", {proof.memory / 1e6:.0f} MB resident" if proof.memory else ""
        screen.print(f"  healthy {proof.cold_start:.2f} s after start{memory}")
