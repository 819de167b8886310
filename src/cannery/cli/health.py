"""`cannery health`: ask a running service."""

from __future__ import annotations

import click

from cannery.errors import ProofError, said


@click.command("health")
@click.argument("url", default="http://127.0.0.1:8080")
@click.option("--timeout", default=3.0, show_default=True, help="Seconds to wait.")
@click.option("--json", is_flag=True, expose_value=False, help="The answer is JSON in any case.")
def command(url: str, timeout: float) -> None:
    """Ask a running service whether it is healthy: exit code 0 yes, 1 no."""
    import httpx

    address = url if "://" in url else f"http://{url}"
    try:
        answer = httpx.get(f"{address.rstrip('/')}/health", timeout=timeout)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProofError(
            f"no answer from '{address}': {said(error)}", hint="is it running?"
        ) from error
    click.echo(answer.text.strip())
    if answer.status_code != 200:
        raise ProofError(f"'{address}' is not healthy: it answers {answer.status_code}")
