"""`unseen list`: what can be named here."""

import ast
import importlib.metadata
import importlib.util
import json
import shutil
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

KINDS = ("segmenters", "images")


def command(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for machines.")] = False,
) -> None:
    """List the segmenters, image sources and weights known here, with licence and source."""
    listing: dict[str, list[dict[str, Any]]] = {kind: plugins(kind) for kind in KINDS}
    if as_json:
        typer.echo(json.dumps(listing, indent=1, ensure_ascii=False))
        return
    for kind, entries in listing.items():
        typer.echo(f"{kind}")
        for entry in entries:
            _print(entry["name"], _line(entry))
        typer.echo()


def plugins(kind: str) -> list[dict[str, Any]]:
    """What is registered under `unseen.<kind>`: name, what it is, package, licence."""
    found = {}
    for entry in importlib.metadata.entry_points(group=f"unseen.{kind}"):
        what = _what_it_is(entry.module, entry.attr)
        if what is None or entry.dist is None:
            continue
        metadata = entry.dist.metadata
        licences = metadata.get_all("License-Expression") or metadata.get_all("License") or [""]
        found[entry.name] = {
            "name": entry.name,
            "what": what,
            "package": f"{entry.dist.name} {entry.dist.version}",
            "licence": licences[0],
        }
    return [found[name] for name in sorted(found)]


def _what_it_is(module: str, function: str) -> str | None:
    """The first line of the function's docstring, or of its module's; None where it is missing.

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
    lines = [
        ast.get_docstring(node)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    found = next((line for line in [*lines, ast.get_docstring(tree)] if line), "")
    return found.partition("\n\n")[0].replace("\n", " ")


def _line(entry: dict[str, Any]) -> str:
    origin = ", ".join(part for part in (entry["package"], entry["licence"]) if part)
    return f"{entry['what']} [{origin}]" if origin else entry["what"]


def _print(name: str, text: str) -> None:
    width = max(40, shutil.get_terminal_size().columns)
    indent = " " * 14
    head = f"  {name:<11} "
    typer.echo(textwrap.fill(head + text, width, subsequent_indent=indent))
