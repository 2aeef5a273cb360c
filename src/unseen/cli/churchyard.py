"""`unseen churchyard …`: the built-in world."""

import typer

from unseen.cli import train_generator

app = typer.Typer(no_args_is_help=True)
train = typer.Typer(no_args_is_help=True)
app.add_typer(train, name="train", help="Train the networks of the built-in world.")
train.command("generator")(train_generator.command)
