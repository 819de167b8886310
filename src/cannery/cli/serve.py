"""`cannery serve`: the service of the image, on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from cannery.caches import cache_folder


@click.command("serve")
@click.argument("can", metavar="CAN|URI")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on [default: 8080, or PORT].",
)
@click.option(
    "--watch",
    type=click.IntRange(1, 86_400),
    help="Look every so many seconds whether CAN|URI is another can by now, and swap it in.",
)
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    help="Take remote calls on this port too; needs cannery[grpc].",
)
@click.option("--host", help="Address to listen on [default: 127.0.0.1, or HOST].")
@click.option("--workers", metavar="N|auto", help="Processes [default: 1, or WORKERS].")
@click.option("--token-file", metavar="FILE", help="The bearer token that callers must send.")
@click.option("--tls-cert", metavar="FILE", help="Speak TLS with this certificate, in PEM.")
@click.option("--tls-key", metavar="FILE", help="Its key.")
def command(can: str, **given: Any) -> int:
    """Serve a can on this machine, as the image does.

    CAN is a folder, or what MODEL_URI takes: models:/name@alias, oci://registry/repository:tag.
    """
    from cannery.serving.main import serve
    from cannery.serving.origins import origin_of
    from cannery.serving.settings import settings_of

    # The image's own cache lies in /tmp, which is shared here.
    env = {"HOST": "127.0.0.1", "CANNERY_CACHE": str(cache_folder("pulled")), **os.environ}
    env.pop("MODEL_URI", None)
    # Each option is a variable of the service, by its own name.
    env.update({name.upper(): str(value) for name, value in given.items() if value is not None})
    plain = Path(can).is_dir() and not env.get("PULL_KEY")  # a key must vouch for a folder too
    env["CANNERY_CAN" if plain else "MODEL_URI"] = can
    settings = settings_of(env)
    return serve(settings, origin_of(settings, env))
