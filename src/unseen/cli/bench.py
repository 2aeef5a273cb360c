"""`unseen bench`: measurements of the method itself."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__)


@app.callback()
def _bench() -> None:
    """Measure the method itself."""


@app.command()
def simulation(
    out: Annotated[Path, typer.Argument(help="Folder of draws and tables; continued if there.")],
    draws: Annotated[int, typer.Option(help="Draws of every size and shift.")] = 60,
    class_draws: Annotated[int, typer.Option(help="Draws of every class design.")] = 400,
    sizes: Annotated[str, typer.Option(help="Images a side.")] = "1000,2000,5000,10000",
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
) -> None:
    """Measure bias, coverage, false alarms and power on simulated areas with known truth."""
    from unseen.bench.simulation import Simulation, simulate

    task = Simulation(
        out=out,
        draws=draws,
        class_draws=class_draws,
        sizes=tuple(int(size) for size in sizes.split(",")),
        seed=seed,
    )
    for path in simulate(task, say=lambda line: typer.echo(line, err=True)):
        typer.echo(path)
