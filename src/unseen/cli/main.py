"""The `unseen` command: which commands there are, and how every one of them ends.

A command's module is imported only when that command is called, so `unseen --help` imports
neither torch nor NumPy. Statuses: 0 done, 1 an error that says what to do, 2 wrong usage,
3 and 4 see `compare --fail-on`, 5 see `invert`, 130 Ctrl-C, 143 SIGTERM.
"""

import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.main import get_command

from unseen.cli import streams
from unseen.cli.command import Command, callback, context_settings
from unseen.cli.interruption import Interruptible
from unseen.core.errors import UnseenError
from unseen.core.freed_memory import keep_freed_memory
from unseen.core.temporary import remove_temporaries

Commands = Mapping[str, tuple[str, str]]

# Command → (MODULE:FUNCTION, a line of help), in the order of the help page; a group has no
# function. The function's parameters are the command's.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("unseen.cli.demo:demo", "See the method at work on the built-in world."),
    "sample": ("unseen.cli.sample:sample", "Draw images of a generator, by index."),
    "segment": ("unseen.cli.segment:segment", "Measure how much of every image each class covers."),
    "merge": ("unseen.cli.segment:merge", "Join the parts that several machines segmented."),
    "compare": (
        "unseen.cli.compare:compare",
        "Compare generated images with real ones, class by class.",
    ),
    "discover": (
        "unseen.cli.discover:discover",
        "Find what no list of classes names.",
    ),
    "thresholds": (
        "unseen.cli.thresholds:thresholds",
        "Set when a class of open vocabulary is called, by labelled images.",
    ),
    "audit": (
        "unseen.cli.audit:audit",
        "Check the segmenter by hand, and correct classes by it.",
    ),
    "asked": (
        "unseen.cli.asked:asked",
        "Count how often classes are drawn that prompts name.",
    ),
    "plan": (
        "unseen.cli.plan:plan",
        "Say how many images a stated loss of a class needs.",
    ),
    "train": ("unseen.cli.train:train", "Train an inverter of a generator, layer by layer."),
    "invert": ("unseen.cli.invert:invert", "Reconstruct photographs with a generator."),
    "evidence": (
        "unseen.cli.evidence:evidence",
        "See what reconstructions of photographs no longer have.",
    ),
    "report": ("unseen.cli.report:report", "Draw the page again from the record."),
    "figure": ("unseen.cli.figure:figure", "Draw one figure of a run, for a paper."),
    "export": ("unseen.cli.export:export", "Write a comparison's pictures for other tools."),
    "churchyard": ("", "Render the built-in world."),
    "churchyard render": ("unseen.cli.churchyard:render", "Write scenes as PNG files."),
    "churchyard presence": (
        "unseen.cli.churchyard:presence",
        "Count how often each class is present.",
    ),
    "bench": ("", "Measure the method itself."),
    "bench inversion": ("unseen.cli.bench:inversion", "Compare the six methods of inversion."),
    "bench cross-domain": (
        "unseen.cli.bench:cross_domain",
        "Invert images of other domains than the generator's.",
    ),
    "bench throughput": ("unseen.cli.bench:throughput", "Measure how fast images are segmented."),
    "bench sampling": ("unseen.cli.bench:sampling", "Measure how fast a generator draws."),
    "bench scaling": ("unseen.cli.bench:scaling", "Measure what a second worker brings."),
    "bench calibration": (
        "unseen.cli.bench:calibration",
        "Plant omissions, and count how many of them are found.",
    ),
    "list": ("unseen.cli.list:list_known", "List the segmenters, image sources and weights."),
}

_EVERYWHERE = (
    "Everywhere: -q/--quiet says results and errors alone, -v/--verbose says more, --debug shows "
    "the traceback of an error, --version prints the version."
)
_FLAGS = {
    "-q": "quiet",
    "--quiet": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
    "--debug": "debug",
    "--version": "version",
}


def _application(commands: Commands, words: Sequence[str], about: str) -> typer.Typer:
    """The command line in which only the command that the words call is imported."""
    # Plain help: drawing it with rich would take more than half of the time allowed.
    settings: dict[str, Any] = {
        "no_args_is_help": True,
        "rich_markup_mode": None,
        "context_settings": context_settings(),
    }
    app = typer.Typer(**settings, help=about, epilog=_EVERYWHERE)
    app.callback()(_root)
    groups = {"": app}
    called = [word for word in words if not word.startswith("-")]
    for name, (target, line) in commands.items():
        parts = name.split()
        group = groups[" ".join(parts[:-1])]
        if not target:
            groups[name] = typer.Typer(**settings, add_completion=False)
            groups[name].callback()(_root)
            group.add_typer(groups[name], name=name, help=line, short_help=line)
            continue
        function: Any = _not_called
        if parts == called[: len(parts)]:
            module, _, attribute = target.partition(":")
            function = callback(getattr(importlib.import_module(module), attribute))
        group.command(
            parts[-1],
            cls=Command,
            short_help=line,
            epilog=_EVERYWHERE,
            context_settings=context_settings(),
        )(function)
    return app


def _root() -> None:
    """Take no option: those that stand everywhere are read before."""


def _not_called() -> None:
    """Stand in for a command that this call only lists."""


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    streams.note(f"warning: {' '.join(str(message).split())}")


def run(
    arguments: Sequence[str],
    *,
    commands: Commands = COMMANDS,
    name: str = "unseen",
    about: str = "See what a generative image model cannot generate.",
) -> int:
    """Run one command line; return its exit status."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = {_FLAGS[word] for word in arguments[:end] if word in _FLAGS}
    arguments = [a for i, a in enumerate(arguments) if a not in _FLAGS or i > end]
    words = arguments
    if os.environ.get("_UNSEEN_COMPLETE"):  # a shell asks what may come next
        words = (os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")).split()
        words = words[1:]
    interruptible = Interruptible()
    debug = "debug" in flags
    with (
        interruptible,
        warnings.catch_warnings(),
        streams.volume(quiet="quiet" in flags, verbose="verbose" in flags),
    ):
        if not debug:
            warnings.showwarning = _show_warning
        try:
            if "version" in flags:
                from unseen.core.files import package_version

                streams.write(f"unseen {package_version()}")
                return 0
            status = _called(_application(commands, words, about), arguments, name)
        except KeyboardInterrupt:
            status = 130
        except BrokenPipeError:  # nobody reads the results any more, and nobody is told
            status = 1
        except Exception as error:  # noqa: BLE001 every error ends in one line
            if debug:
                traceback.print_exc()
            streams.complain(f"unseen: error: {' '.join(_line(error).split())}")
            status = 1
    if interruptible.signal is not None:
        streams.complain(interruptible.message)
        return 128 + interruptible.signal
    return status


def _called(app: typer.Typer, arguments: Sequence[str], name: str) -> int:
    """The status of the command that is called."""
    usage: Any = typer.BadParameter.__base__  # of every fault in how a command is called
    try:
        status = get_command(app)(args=list(arguments), prog_name=name, standalone_mode=False)
    except usage as error:
        where = error.ctx.command_path if error.ctx is not None else name
        if type(error).__name__ == "NoArgsIsHelpError":
            streams.write(error.format_message())
            return 2
        message = " ".join(error.format_message().removeprefix("Invalid value: ").split())
        streams.complain(f"unseen: error: {message}; see: {where} --help")
        return 2
    except SystemExit as error:  # completion
        return error.code if isinstance(error.code, int) else 1
    return status if isinstance(status, int) else 0


def _line(error: Exception) -> str:
    """What an error says."""
    notes = getattr(error, "__notes__", [])
    if isinstance(error, UnseenError):
        return "; ".join([str(error), *notes])
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return "; ".join([what, *notes, "--debug shows where it happened"])


def main() -> None:
    """Run the command line and leave with its status."""
    streams.own_streams()
    keep_freed_memory()
    status = run(sys.argv[1:])
    whole = streams.end_streams()
    if status > 128:  # ended by a signal: taking torch and its threads down would cost a second
        remove_temporaries()
        os._exit(status)
    sys.exit(status or int(not whole))
