"""The `unseen` command: which commands there are, and how every one of them ends.

A command's module is imported only when that command is called, so `unseen --help` imports
neither torch nor NumPy. Statuses: 0 done, 1 an error that says what to do, 2 wrong usage,
3 and 4 see `compare --fail-on`, 5 see `invert`, 130 Ctrl-C, 143 SIGTERM.
"""

import contextlib
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

from unseen.cli.interruption import Interruptible
from unseen.core.errors import UnseenError
from unseen.core.temporary import remove_temporaries

# name → (module, one line of help), in the order of the help page. The module defines either
# `command`, a function whose parameters are the command's, or `app`, a typer.Typer of several.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("unseen.cli.demo", "See the method at work on the built-in world."),
    "sample": ("unseen.cli.sample", "Draw images of a generator, by index."),
    "segment": ("unseen.cli.segment", "Measure how much of every image each class covers."),
    "compare": ("unseen.cli.compare", "Compare generated images with real ones, class by class."),
    "train": ("unseen.cli.train", "Train an inverter of a generator, layer by layer."),
    "invert": ("unseen.cli.invert", "Reconstruct photographs by a generator: what it leaves out."),
    "evidence": ("unseen.cli.evidence", "See what reconstructions of photographs no longer have."),
    "report": ("unseen.cli.report", "Draw the page again from the record, without any model."),
    "churchyard": ("unseen.cli.churchyard", "The built-in world: train its networks."),
    "bench": ("unseen.cli.bench", "Measure the method itself: tables for the documentation."),
    "list": ("unseen.cli.list", "List segmenters, image sources and weights known here."),
}


def _application(called: str | None) -> typer.Typer:
    """The command line in which only the command `called` is imported."""
    # Plain help: drawing it with rich would take more than half of the time allowed.
    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
    app.callback()(_options)
    for name, (module_name, line) in COMMANDS.items():
        if name != called:
            app.command(name, help=line)(_not_called)
            continue
        module = importlib.import_module(module_name)
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name, help=line)
        else:
            app.command(name)(module.command)
    return app


def _not_called() -> None:
    """Stand in for a command that this call only lists."""


def _print_version(wanted: bool) -> bool:
    if wanted:
        from unseen.core.files import package_version

        typer.echo(f"unseen {package_version()}")
        raise typer.Exit
    return wanted


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (at any place).")
    ] = False,
) -> None:
    """See what a generative image model cannot generate."""


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"unseen: warning: {' '.join(str(message).split())}", file=sys.stderr)  # noqa: T201


def run(
    arguments: Sequence[str],
    *,
    application: Callable[[str | None], typer.Typer] = _application,
    name: str = "unseen",
) -> int:
    """Run one command line; return its exit status."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    debug = "--debug" in arguments[:end]
    arguments = [a for i, a in enumerate(arguments) if a != "--debug" or i > end]
    called = next((a for a in arguments if not a.startswith("-")), None)
    interruptible = Interruptible()
    status: int | str | None = 0
    with interruptible, warnings.catch_warnings():
        if not debug:
            warnings.showwarning = _show_warning
        try:
            get_command(application(called))(args=list(arguments), prog_name=name)
        except SystemExit as error:
            status = error.code
        except KeyboardInterrupt:
            status = 130
        except UnseenError as error:
            if debug:
                traceback.print_exc()
            line = "; ".join([str(error), *getattr(error, "__notes__", [])])
            print(f"unseen: error: {' '.join(line.split())}", file=sys.stderr)  # noqa: T201
            status = 1
    if interruptible.signal is not None:
        print(interruptible.message, file=sys.stderr)  # noqa: T201
        return 128 + interruptible.signal
    return status if isinstance(status, int) else int(status is not None)


def main() -> None:
    """Run the command line and leave with its status."""
    status = run(sys.argv[1:])
    if status > 128:  # ended by a signal: taking torch and its threads down would cost a second
        remove_temporaries()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
