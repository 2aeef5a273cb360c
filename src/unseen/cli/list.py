"""`unseen list`: what can be named here."""

import ast
import importlib.metadata
import importlib.util
import shutil
import textwrap
from pathlib import Path
from typing import Annotated, Any

from unseen.cli import streams
from unseen.core.options import Option
from unseen.weights.known import KNOWN

KINDS = ("segmenters", "generators", "images")


def list_known(
    as_json: Annotated[bool, Option("Write JSON, for machines.", name="--json")] = False,
) -> None:
    """List the segmenters, generators, image sources and weights, with licence and source."""
    listing = {**{kind: plugins(kind) for kind in KINDS}, "weights": weights()}
    if as_json:
        streams.write_json(listing)
        return
    for kind, entries in listing.items():
        streams.write(kind)
        for entry in entries:
            origin = [entry.get("package"), entry.get("source"), entry["licence"]]
            text = f"{entry['what']} [{'; '.join(part for part in origin if part)}]"
            streams.write(_hung(f"  {entry['name']}", text))
        streams.write()


def weights() -> list[dict[str, Any]]:
    """The published files that are known by name, and are downloaded when they are asked for."""
    return [
        {
            "name": entry.name,
            "what": entry.about,
            "source": entry.source,
            "licence": entry.licence,
            "url": entry.url,
            "sha256": entry.sha256,
        }
        for entry in KNOWN.values()
    ]


def plugins(kind: str) -> list[dict[str, Any]]:
    """What is registered under `unseen.<kind>`: name, what it is, package, licence."""
    listed = {}
    for entry in importlib.metadata.entry_points(group=f"unseen.{kind}"):
        what = _what_it_is(entry.name, entry.module, entry.attr)
        if what is None or entry.dist is None:
            continue
        metadata = entry.dist.metadata
        licences = metadata.get_all("License-Expression") or metadata.get_all("License") or [""]
        listed[entry.name] = {
            "name": entry.name,
            "what": what,
            "package": f"{entry.dist.name} {entry.dist.version}",
            "licence": licences[0],
        }
    return [listed[name] for name in sorted(listed)]


def _what_it_is(name: str, module: str, function: str) -> str | None:
    """The first line of the factory's docstring, or of its module's; None where it is missing.

    Read from the source: importing every plug-in would import every network library.
    """
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return None
    if spec is None:
        return None
    if spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function]
    lines = [_first_line(node) for node in functions]
    # A function's line is taken where it shows how to write the spec, else the module's.
    return next((line for line in lines if f"`{name}" in line), _first_line(tree))


def _first_line(node: ast.FunctionDef | ast.Module) -> str:
    paragraph = (ast.get_docstring(node) or "").partition("\n\n")[0]
    return paragraph.replace("\n", " ").removeprefix("The entry point ")


def _hung(name: str, text: str) -> str:
    """A name, and its text in a column of its own."""
    width = max(60, shutil.get_terminal_size().columns)
    indent = " " * 16
    head = f"{name:<15} " if len(name) < 16 else f"{name}\n{indent}"
    lines = textwrap.wrap(text, width - len(indent))
    return head + f"\n{indent}".join(lines)
