"""`cannery sign`: vouch with a key for a can, or for an image in a registry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cannery.blobs import write_file
from cannery.cans.open import MANIFEST, open_can
from cannery.cli.main import print_json
from cannery.errors import UsageError
from cannery.oci.references import parse
from cannery.reports.text import short

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

KEY, PASSWORD = "CANNERY_KEY", "CANNERY_KEY_PASSWORD"


@click.command("sign")
@click.argument("image", metavar="CAN|REGISTRY/NAME:TAG")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help=f"Private key on an elliptic curve, in PEM [default: the text in {KEY}].",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was signed as JSON.")
def command(image: str, key: Path | None, as_json: bool) -> None:
    """Sign a can, or an image in its registry and all that is attached to it.

    A can gets a signature in OpenSSF's format for models, in CAN.sig beside it; an image is signed as
    cosign does with a key, and what is attached to it also in envelopes, as cosign keeps attestations.
    A key that is encrypted is opened with the password in CANNERY_KEY_PASSWORD.
    """
    from cannery.attestations.signatures import read_private_key
    from cannery.attestations.vouching import sign_image
    from cannery.oci.transfer import open_registry

    private = read_private_key(_key(key), os.environ.get(PASSWORD))
    if (Path(image) / MANIFEST).is_file():
        _sign_can(Path(image), private, as_json=as_json)
        return
    reference = parse(image)
    with open_registry(reference) as registry:
        done = sign_image(registry, reference, private)
    if as_json:
        print_json(msgspec.to_builtins(done))
        return
    for part in done:
        click.echo(f"signed {short(part.digest)}  {part.what}")


def _sign_can(folder: Path, key: EllipticCurvePrivateKey, *, as_json: bool) -> None:
    from cannery.attestations.models import sign_can
    from cannery.cans.vouchers import signature_place

    can, place = open_can(folder), signature_place(folder)
    with write_file(place) as stream:
        stream.write(sign_can(can, key))
    if as_json:
        print_json({"can": can.digest, "signature": str(place)})
    else:
        click.echo(f"signed {short(can.digest)}  {folder}, in {place.name}")


def _key(path: Path | None) -> bytes:
    if path is not None:
        return read_key(path)
    text = os.environ.get(KEY)
    if not text:
        raise UsageError("no key was given", hint=f"name its file with --key, or put it into {KEY}")
    return text.encode()


def read_key(path: Path) -> bytes:
    """Return the bytes of a key's file; raises UsageError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read the key '{path}': {error.strerror}") from error
