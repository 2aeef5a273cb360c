"""What messages and documentation tell a reader to install can be installed.

The package is on no index: a clone, `git+…` or a wheel is named, or the missing package itself.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
_COMMAND = re.compile(r"pip install ([^`\n&|]*)")
_OF_AN_INDEX = re.compile(r"(?<![\w./-])unseen(?!\w|[/@]|\s*(\[[\w,]*\])?\s*@\s*git\+|-\d)")
_EXTRA_OF_A_CLONE = re.compile(r"\.\[([\w,-]+)\]")


def asked_for() -> Iterator[tuple[str, str]]:
    """Every `pip install …` that a user may read: where it stands, and what it installs."""
    places = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "action.yml", "check")
    files = [ROOT / name for name in places]
    for folder in ("docs", "src", "lab", "notebooks", ".ci", ".github"):
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in files:
        if path.suffix in ("", ".md", ".py", ".ipynb", ".yml", ".j2"):
            for found in _COMMAND.findall(path.read_text(encoding="utf-8")):
                yield str(path.relative_to(ROOT)), found


def of_an_index(command: str) -> bool:
    """Whether it takes this package from an index."""
    return _OF_AN_INDEX.search(command) is not None


def test_nothing_takes_the_package_from_an_index_which_does_not_have_it() -> None:
    assert of_an_index("unseen")
    assert of_an_index("'unseen[hf]'")
    assert of_an_index("-c constraints.txt unseen==0.1.0")
    assert not of_an_index('"unseen[hf] @ git+https://github.com/OWNER/unseen"')
    assert not of_an_index("git+https://github.com/OWNER/unseen")
    assert not of_an_index("-c unseen/constraints.txt unseen/")
    assert not of_an_index("dist/unseen-0.1.0-py3-none-any.whl")
    commands = list(asked_for())
    assert [place for place, command in commands if of_an_index(command)] == []
    named = [name for _, command in commands for name in _EXTRA_OF_A_CLONE.findall(command)]
    assert {extra for names in named for extra in names.split(",")} <= set(EXTRAS)


def test_every_package_that_a_message_names_belongs_to_an_extra() -> None:
    calls = re.compile(r"raise missing_package\([^,]+((?:, \"[\w-]+\")+)\)")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    named = {name for source in sources for call in calls.findall(source) for name in _words(call)}
    declared = {re.split(r"[<>=\[]", line)[0] for extra in EXTRAS.values() for line in extra}
    assert {"lmdb", "transformers"} <= named <= declared


def _words(call: str) -> list[str]:
    return re.findall(r"[\w-]+", call)
