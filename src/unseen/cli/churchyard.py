"""`unseen churchyard …`: the built-in world."""

import typer

from unseen.cli import churchyard_scenes

app = typer.Typer(no_args_is_help=True)
app.command("render")(churchyard_scenes.render)
app.command("presence")(churchyard_scenes.presence)
