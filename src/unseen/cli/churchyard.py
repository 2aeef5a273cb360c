"""`unseen churchyard …`: the built-in world."""

import typer

from unseen.cli import churchyard_scenes, train_generator, train_segmenter

app = typer.Typer(no_args_is_help=True)
app.command("render")(churchyard_scenes.render)
app.command("presence")(churchyard_scenes.presence)
train = typer.Typer(no_args_is_help=True)
app.add_typer(train, name="train", help="Train the networks of the built-in world.")
train.command("generator")(train_generator.command)
train.command("segmenter")(train_segmenter.command)
