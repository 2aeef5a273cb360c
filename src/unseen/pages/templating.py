"""What every page is made with: colours, assets, its policy, data for its script."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import markupsafe

from unseen.core.figure_style import DARK, LIGHT, Theme
from unseen.pages.small_figures import slug


def plain_environment() -> jinja2.Environment:
    """The templates; whatever they show is escaped, and what they do not know is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("unseen.pages", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def colours() -> markupsafe.Markup:
    """The colours of figures as variables of the style sheet."""

    def variables(theme: Theme) -> str:
        colours = {
            "ink": theme.ink,
            "soft": theme.quiet,
            "line": theme.faint,
            "paper": theme.paper,
            "control": theme.real,
            **{slug(verdict): colour for verdict, colour in theme.verdicts.items()},
        }
        said = " ".join(f"--{name}: {colour};" for name, colour in colours.items())
        return f":root {{ {said} }}"

    dark = f"@media screen and (prefers-color-scheme: dark) {{ {variables(DARK)} }}"
    return markupsafe.Markup(f"{variables(LIGHT)}\n{dark}\n")


def asset(environment: jinja2.Environment, *names: str) -> markupsafe.Markup:
    """The text of these assets, one after the other."""
    assert environment.loader is not None
    sources = [environment.loader.get_source(environment, name)[0] for name in names]
    return markupsafe.Markup("\n".join(sources))


def policy(css: str, script: str, *, alone: bool) -> str:
    """The page's Content-Security-Policy: this style, this script, pictures beside it, no network.

    `file:` is named for browsers in which a page from the disk is not of its own origin.
    """
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, script)
    )
    beside = "" if alone else "'self' file: "
    return (
        f"default-src 'none'; img-src {beside}data:; "
        f"style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )


def data(value: Mapping[str, Any] | Sequence[Any]) -> markupsafe.Markup:
    """JSON inside a script element, where nothing but "<" could end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return markupsafe.Markup(text.replace("<", "\\u003c"))
