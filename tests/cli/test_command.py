"""What a command line takes, refuses and explains; commands are made of their tasks."""

import dataclasses
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from lab.__main__ import COMMANDS as LAB

from unseen.cli.command import callback
from unseen.cli.main import COMMANDS, run
from unseen.core.options import Argument, Fields, Option, Place, declared

ALL = {**COMMANDS, **{f"lab {name}": line for name, line in LAB.items()}}
FUNCTIONS = [target for target, _ in ALL.values() if target]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    images: Annotated[str, Argument("Images to take.")]
    count: Annotated[int, Option("Number of images.", short="-n", min=1)] = 2
    share: Annotated[float, Option("Share of them.", max=1)] = 0.5
    sizes: Annotated[tuple[int, ...], Option("Sizes.", min=1)] = (1, 2)
    names: Annotated[Sequence[str], Option("Names.", name="--name", repeated=True)] = ()
    labels: Annotated[Sequence[str], Option("L.", metavar="L", repeated=True, greedy=True)] = ()
    pair: Annotated[tuple[str, str] | None, Option("Two texts.")] = None
    mode: Annotated[Literal["soft", "loud"], Option("Mode.")] = "soft"
    folder: Annotated[Path | None, Option("Folder.")] = None
    sure: Annotated[bool, Option("Be sure.")] = False
    kind: Annotated[bool, Option("Be kind.")] = True
    hidden: int = 7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    rate: Annotated[float, Option("Rate.")] = 1.0
    steps: Annotated[int, Option("Steps.")] = 3


@pytest.fixture
def call(monkeypatch):
    """Call a command line of one command; what the command was given, or the status."""
    given: list[Any] = []

    def command(
        task: Task,
        changes: Annotated[dict[str, Any], Fields(Preset, given=True)],
        out: Annotated[Path, Place("Where to.", short="-o")] = Path("there"),
    ) -> None:
        given.append((task, changes, out))

    module = type(sys)("plug")
    module.command = command
    monkeypatch.setitem(sys.modules, "plug", module)

    def call(*words: str):
        given.clear()
        status = run(["plug", *words], commands={"plug": ("plug:command", "Plug.")})
        return given[0] if status == 0 else status

    return call


def test_fields_are_options_with_their_defaults(call):
    assert call("photos") == (Task(images="photos"), {}, Path("there"))


def test_values_have_the_types_of_their_fields(call):
    words = "photos -n 3 --share 0.25 --sizes 4,5 --name a --name b,c --pair x y --mode loud"
    task, changes, out = call(
        *words.split(), "--folder", "~/x", "--sure", "--no-kind", "--rate", "2", "-o", "here"
    )
    assert task == Task(
        images="photos",
        count=3,
        share=0.25,
        sizes=(4, 5),
        names=("a", "b,c"),
        pair=("x", "y"),
        mode="loud",
        folder=Path.home() / "x",
        sure=True,
        kind=False,
    )
    assert changes == {"rate": 2.0}
    assert out == Path("here")
    assert call("~/photos", "there2")[2] == Path("there2")
    assert call("a", "--labels", "x y", "z", "-n", "3")[0] == Task(
        images="a", count=3, labels=("x y", "z")
    )
    assert call("--labels", "x", "y", "--labels=-z", "--", "a")[0].labels == ("x", "y", "-z")
    assert call("~/photos")[0].images == str(Path.home() / "photos")


def test_an_argument_of_several_values_takes_a_word_for_each(monkeypatch):
    given: list[Any] = []

    def command(images: Annotated[tuple[str, ...], Argument("Images.")]) -> None:
        given.append(images)

    module = type(sys)("plug")
    module.command = command
    monkeypatch.setitem(sys.modules, "plug", module)
    assert run(["plug", "a", "b,c"], commands={"plug": ("plug:command", "Plug.")}) == 0
    assert given == [("a", "b,c")]


@pytest.mark.parametrize(
    "words",
    [
        [],
        [""],
        ["x", "--count", "0"],
        ["x", "--count", "1.5"],
        ["x", "--count", "99999999999999999999"],
        ["x", "--share", "nan"],
        ["x", "--share", "inf"],
        ["x", "--share", "1e400"],
        ["x", "--share", "-0.1"],
        ["x", "--share", "1.01"],
        ["x", "--sizes", "1,,2"],
        ["x", "--sizes", "1,x"],
        ["x", "--mode", "wild"],
        ["x", "--folder", " "],
        ["x", "--count", "1", "-n", "2"],
        ["x", "--sure", "--sure"],
        ["x", "y", "-o", "z"],
        ["x", "y", "z"],
        ["x", "--hidden", "1"],
        ["x", "n" * 300],
        ["x", "bad\udcff"],
    ],
)
def test_wrong_use_is_one_line_and_status_2(call, capsys, words):
    assert call(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"unseen: error: .+\n", captured.err), captured.err


def test_help_of_wrong_use_does_not_steer_the_terminal(call, capsys):
    assert call("x", "--\x1b[31mred") == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("columns", [40, 200])
@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name][0]])
def test_help_fits_the_terminal(name, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run([*name.split(), "-h"]) == 0
    page = capsys.readouterr().out
    lines = page.splitlines()
    assert max(len(line) for line in lines) <= columns
    assert columns == 40 or max(len(line) for line in lines) > 120
    assert page.split()[: 1 + len(name.split()) + 1] == ["Usage:", "unseen", *name.split()]


def _options(target: str) -> dict[str, str]:
    """Option → help of a command."""
    module, _, attribute = target.partition(":")
    function = callback(getattr(importlib.import_module(module), attribute))
    hints = function.__annotations__
    return {name: hint.__metadata__[0].help for name, hint in hints.items()}


@pytest.mark.parametrize("target", FUNCTIONS)
def test_every_option_is_explained_in_a_sentence(target):
    for name, sentence in _options(target).items():
        assert re.fullmatch(r"(?s)([A-ZΑ-Ω]|λ).*\.", sentence), (name, sentence)


def test_the_same_thing_has_one_spelling():
    for target in FUNCTIONS:
        module, _, attribute = target.partition(":")
        function = callback(getattr(importlib.import_module(module), attribute))
        for name, hint in function.__annotations__.items():
            mark = hint.__metadata__[0]
            if isinstance(mark, typer.models.ArgumentInfo):
                continue
            spellings = (mark.default, *(mark.param_decls or ()))
            if "--count" in spellings:
                assert "-n" in spellings, target
            if name == "out" or "--out" in spellings:
                assert "-o" in spellings, target
            assert "--latent-seed" not in spellings, target


def test_what_is_declared_can_be_its_own_default():
    for target in FUNCTIONS:
        module, _, attribute = target.partition(":")
        hints = getattr(importlib.import_module(module), attribute).__annotations__
        for task in hints.values():
            if not dataclasses.is_dataclass(task):
                continue
            for field in dataclasses.fields(task):
                option = declared(task).get(field.name, (None, None))[1]
                if option is not None and field.default is not dataclasses.MISSING:
                    assert option.fault(field.default) is None, (target, field.name)


def test_completion_names_commands_and_choices(monkeypatch, capfd):
    monkeypatch.setenv("_UNSEEN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "unseen sam")
    monkeypatch.setenv("COMP_CWORD", "1")
    run([])
    assert capfd.readouterr().out.split() == ["sample"]
    monkeypatch.setenv("COMP_WORDS", "unseen sample --rounding tr")
    monkeypatch.setenv("COMP_CWORD", "3")
    run([])
    assert capfd.readouterr().out.split() == ["truncate"]
