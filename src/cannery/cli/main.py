"""The command `cannery`: finds the subcommand, runs it, and turns errors into one clear line and an exit code."""

from __future__ import annotations

import importlib
import json
import logging
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from cannery.errors import CanneryError, RefusedError, SchemaError, harmless

_log = logging.getLogger(__name__)

COMMANDS = {
    "audit": "Say what opening a model file would do, without opening it.",
    "trust": "Write down that a person reviewed a name.",
    "pack": "Convert an audited model and seal it into a can.",
    "build": "Make a proven image of a model or a can.",
    "verify": "Start a finished image and try it.",
    "explain": "Say why a model can't become ONNX, and what would make it.",
    "parity": "Show how far a converted model is from its original.",
    "inspect": "Say what an image or a can is made of, from where, and why.",
    "diff": "Say in what two images or cans differ, predictions among it.",
    "push": "Bring a can or a layout to a registry.",
    "pull": "Bring a can or an image from a registry.",
    "sign": "Vouch with a key for a can, or for an image in a registry.",
    "serve": "Serve a can on this machine.",
    "smoke": "Load a can and score its canary.",
    "health": "Ask a running service whether it is healthy.",
    "score": "Score a file of rows with a can.",
    "publish": "Put a can where services can pull it.",
    "eject": "Write the classical Dockerfile and scoring script of a can.",
    "manifest": "Write what Kubernetes or KServe needs to run an image.",
    "lock": "Pin the packages of the image in cannery.lock.",
    "update": "Show newer packages for the image, and pin them.",
    "prune": "Delete what the cache has not used for a while.",
    "doctor": "Show what this machine offers and where each setting comes from.",
    "demo": "Watch the whole line at work on real data.",
}
"""Every subcommand and what it is for; each lives in the module of its name and is imported when called."""


def _set_talk(ctx: click.Context, option: click.Parameter, given: bool) -> None:
    """Note that less or more is to be said, wherever on the line that was asked for."""
    if given:
        ctx.meta[f"cannery.{option.name}"] = True
        level = logging.DEBUG if option.name == "verbose" else logging.ERROR
        logging.getLogger().setLevel(level)


def _talk_options() -> list[click.Parameter]:
    """Return `-v` and `-q`, which every command takes, before its name and after."""
    told = {"verbose": "Say more, on stderr.", "quiet": "Say nothing but results and errors."}
    return [
        click.Option(
            [f"-{name[0]}", f"--{name}"],
            is_flag=True,
            expose_value=False,
            callback=_set_talk,
            help=text,
        )
        for name, text in told.items()
    ]


class Word(click.types.StringParamType):
    """A file, a folder, a URI or an image: a shell can complete the first two."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell look for files."""
        return [CompletionItem(incomplete, type="file")]


class Lazy(click.Group):
    """A group that imports a subcommand only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands in the order of the line."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of the subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"cannery.cli.{cmd_name}")
        command: click.Command = module.command
        for param in command.params:
            if isinstance(param, click.Argument) and param.type is click.STRING:
                param.type = Word()
        command.params = [*command.params, *_talk_options()]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, with a word on what the user may have meant."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            import difflib

            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise click.UsageError(f"no such command '{name}'.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=Lazy, params=_talk_options(), context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="cannery", message="cannery %(version)s")
def cannery() -> None:
    """Turn a trained model into an image that scores: safe, small, reproducible, proven."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _line(label: str, color: str, text: str) -> None:
    told = "\n  ".join(harmless(line) for line in text.split("\n"))  # no line can pass for another
    click.echo(f"{click.style(label + ':', fg=color, bold=True)} {told}", err=True)


def _complain(message: str, hint: str | None = None, details: Sequence[object] = ()) -> None:
    _line("error", "red", message)
    for detail in details[:20]:
        click.echo(f"  {harmless(str(detail))}", err=True)
    if len(details) > 20:
        click.echo(f"  and {len(details) - 20} more", err=True)
    if hint:
        _line("hint", "cyan", hint)


_interrupts: list[int] = []
"""The signals that came: other people's code may turn an interrupt into an error of its own."""


def _raise_interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    _interrupts.append(number)
    raise KeyboardInterrupt


def _run() -> int:
    """Run the command line and return its exit code: 0 yes, 1 no, 2 error."""
    try:
        status = cannery.main(prog_name="cannery", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except SystemExit:
        raise
    except BaseException as error:
        if _interrupts or isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
            _complain("interrupted", "nothing was left half-written; the same command starts over")
            return 2
        return _tell(error)


def _tell(error: BaseException) -> int:
    """Say what is wrong on stderr, never as a traceback, and return the exit code."""
    match error:
        case CanneryError():
            issues = error.issues if isinstance(error, SchemaError) else ()
            told = [issue for issue in issues if not error.message.startswith(str(issue))]
            _complain(error.message, error.hint, told)
            return 1 if isinstance(error, RefusedError) else 2
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
        case click.MissingParameter(param=click.Option(help=str(told)) as option):
            _complain(f"missing option {' / '.join(repr(o) for o in option.opts)}", told)
        case click.ClickException():
            path = getattr(getattr(error, "ctx", None), "command_path", "cannery")
            message = error.format_message()
            _complain(message[:1].lower() + message[1:].rstrip("."), f"see '{path} --help'")
        case BrokenPipeError():
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - keeps the final flush silent
        case OSError():
            place = f": '{error.filename}'" if error.filename else ""
            _complain(f"{(error.strerror or str(error)).lower()}{place}")
        case MemoryError():
            _complain("out of memory", "free some, or give a smaller model or sample")
        case _:
            words = str(error).strip().partition("\n")[0][:300]
            _complain(
                f"unexpected {type(error).__name__}: {words}",
                "this is a defect of cannery: please report it with what -v says",
            )
            _log.debug("where it happened", exc_info=error)
    return 2


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_interrupt)
    sys.exit(_run())


def print_json(value: object) -> None:
    """Write `value` to stdout as JSON with sorted keys."""
    click.echo(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def suggest(ctx: click.Context, *words: str) -> None:
    """Say on stderr what could be typed next."""
    if talks(ctx):
        _line("next", "cyan", shlex.join(words))


def talks(ctx: click.Context) -> bool:
    """Whether the user wants to be told how the work goes."""
    return "cannery.quiet" not in ctx.meta
