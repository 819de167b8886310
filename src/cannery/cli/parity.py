"""`cannery parity`: how far a converted model is from its original."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from cannery.blobs import refuse_existing, write_file
from cannery.cans.open import open_can
from cannery.cli.main import print_json
from cannery.errors import CanError
from cannery.packs import PARITY


@click.command("parity")
@click.argument("can", type=click.Path(path_type=Path))
@click.option(
    "--html", type=click.Path(path_type=Path), help="Write the certificate as a page to this file."
)
@click.option("--force", is_flag=True, help="Replace an output that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the certificate as JSON.")
@click.pass_context
def command(ctx: click.Context, can: Path, html: Path | None, force: bool, as_json: bool) -> None:
    """Show the parity certificate in CAN: original against converted, by kind of row.

    Exit code 0 when both are equal within the tolerance, 1 when not, 2 when nothing was converted.
    """
    from cannery.conversions.certificates import certificate_page
    from cannery.conversions.nouns import Parity
    from cannery.reports.certificates import certificate_text

    opened = open_can(can)
    if opened.manifest.parity is None:
        raise CanError(
            f"the can '{can}' has no parity certificate: its model was taken as it was given",
            hint="its canary is what it was seen to answer: cannery smoke CAN",
        )
    try:
        parity = msgspec.json.decode(opened.read(PARITY), type=Parity)
    except msgspec.DecodeError as error:
        raise CanError(
            f"'{PARITY}' in '{can}' is no parity certificate: {error}",
            hint="it was made by another version of Cannery: pack the model again",
        ) from error
    if html is not None:
        refuse_existing(html, force=force)
        with write_file(html, force=force) as stream:
            model = opened.manifest.files[opened.manifest.model].digest
            page = certificate_page(opened.manifest, parity, model=model, can=opened.digest)
            stream.write(page.encode())
    if as_json:
        print_json({"equal": parity.equal, **msgspec.to_builtins(parity)})
    else:
        click.echo(certificate_text(opened.manifest, parity))
    ctx.exit(0 if parity.equal else 1)
