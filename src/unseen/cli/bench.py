"""`unseen bench`: measurements of the method itself."""

from pathlib import Path
from typing import Annotated

import typer

from unseen.cli import bench_inversion

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__)


@app.callback()
def _bench() -> None:
    """Measure the method itself."""


app.command()(bench_inversion.inversion)
app.command()(bench_inversion.cross_domain)


@app.command()
def throughput(
    segmenter: Annotated[str, typer.Argument(help="Spec of the segmenter.")],
    images: Annotated[
        str, typer.Option(help="Images: a folder, an archive or a spec.")
    ] = "churchyard?seed=1&resolution=256",
    count: Annotated[int, typer.Option(help="Images a turn.")] = 20,
    rounds: Annotated[int, typer.Option(help="Turns of each way, after one to warm up.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the subset.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "cpu",
    precisions: Annotated[str, typer.Option(help="Of fp32 and bf16.")] = "fp32,bf16",
    workers: Annotated[int, typer.Option(help="Decoding processes.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure images a second through the whole path against a plain loop in the same run."""
    import json

    from unseen.bench.throughput import Throughput, measure, table
    from unseen.core.devices import resolve_device

    task = Throughput(
        segmenter=segmenter,
        images=images,
        count=count,
        rounds=rounds,
        seed=seed,
        device=resolve_device(device),
        precisions=tuple(precisions.split(",")),  # type: ignore[arg-type]
        workers=workers,
    )
    result = measure(task, say=lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(result, indent=1) if json_ else table(result))


@app.command()
def sampling(
    generator: Annotated[str, typer.Argument(help="Spec of the generator.", show_default=False)],
    count: Annotated[int, typer.Option(help="Images a turn.", min=1)] = 8,
    rounds: Annotated[
        int, typer.Option(help="Turns of each way, after one to warm up.", min=1)
    ] = 3,
    batch_size: Annotated[int, typer.Option(help="Images a call of the generator.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the latents.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "cpu",
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure images a second that a generator draws against a plain loop in the same run."""
    import json

    from unseen.bench.sampling import SamplingSpeed, measure, table

    task = SamplingSpeed(
        generator=generator,
        count=count,
        rounds=rounds,
        batch_size=batch_size,
        seed=seed,
        device=device,
    )
    result = measure(task, say=lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(result, indent=1) if json_ else table(result))


@app.command()
def calibration(
    out: Annotated[Path, typer.Argument(help="Folder of areas and tables; continued if there.")],
    images: Annotated[
        str, typer.Option(help="Images: a folder, an archive or a spec.", show_default=False)
    ],
    classes: Annotated[
        str, typer.Option(help="Classes to leave out, one at a time.", show_default=False)
    ],
    segmenter: Annotated[
        str | None, typer.Option(help="Spec; churchyard for the churchyard, else upp.")
    ] = None,
    presences: Annotated[
        str, typer.Option(help="Presence of the class on the real side, in percent.")
    ] = "0.5,1,2,5",
    removals: Annotated[
        str, typer.Option(help="Percent of its images that lose it on the other side.")
    ] = "100,50,20",
    sizes: Annotated[str, typer.Option(help="Images a side.")] = "500,1000,2000,5000",
    pool: Annotated[int, typer.Option(help="Images segmented once, to draw sides from.")] = 20_000,
    repetitions: Annotated[int, typer.Option(help="Of every planted omission and size.")] = 100,
    null_repetitions: Annotated[int, typer.Option(help="Of every size, nothing planted.")] = 400,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
) -> None:
    """Plant omissions, score them through the segmenter: detection and false alarms."""
    from unseen.bench.calibration import Calibration, run_calibration

    task = Calibration(
        out=out,
        images=images,
        segmenter=segmenter,
        classes=tuple(classes.split(",")),
        presences=tuple(value / 100 for value in _numbers(presences, "--presences")),
        removals=tuple(value / 100 for value in _numbers(removals, "--removals")),
        counts=tuple(int(value) for value in _numbers(sizes, "--sizes")),
        pool=pool,
        repetitions=repetitions,
        null_repetitions=null_repetitions,
        seed=seed,
    )
    for path in run_calibration(task, say=lambda line: typer.echo(line, err=True)):
        typer.echo(path)


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of numbers: {option} 1,2,5") from error
