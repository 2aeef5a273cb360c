"""`python -m lab COMMAND`: the measurements and trainings behind the documentation."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from lab import train_generator, train_segmenter
from unseen.cli.bench import _numbers
from unseen.cli.main import run as run_command

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__)
train = typer.Typer(no_args_is_help=True)
app.add_typer(train, name="train", help="Train the networks of the built-in world.")
train.command("generator")(train_generator.command)
train.command("segmenter")(train_segmenter.command)


@app.command()
def simulation(
    out: Annotated[Path, typer.Argument(help="Folder of draws and tables; continued if there.")],
    draws: Annotated[int, typer.Option(help="Draws of every size and shift.")] = 60,
    class_draws: Annotated[int, typer.Option(help="Draws of every class design.")] = 400,
    sizes: Annotated[str, typer.Option(help="Images a side.")] = "1000,2000,5000,10000",
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
) -> None:
    """Measure bias, coverage, false alarms and power on simulated areas with known truth."""
    from lab.statistics_simulation import Simulation, simulate

    task = Simulation(
        out=out,
        draws=draws,
        class_draws=class_draws,
        sizes=tuple(int(size) for size in sizes.split(",")),
        seed=seed,
    )
    for path in simulate(task, say=lambda line: typer.echo(line, err=True)):
        typer.echo(path)


@app.command()
def calibration(
    out: Annotated[Path, typer.Argument(help="Folder of areas and tables; continued if there.")],
    pool: Annotated[int, typer.Option(help="Scenes that sides are drawn from.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
) -> None:
    """Measure which omissions are found in the churchyard, whose scenes are rendered again."""
    from lab.churchyard_calibration import ChurchyardCalibration, calibrate_churchyard

    task = ChurchyardCalibration(out=out, pool=pool, seed=seed)
    for path in calibrate_churchyard(task, say=lambda line: typer.echo(line, err=True)):
        typer.echo(path)


@app.command()
def retention(
    out: Annotated[Path, typer.Argument(help="Folder of the tables.")],
    draws: Annotated[int, typer.Option(help="Draws of every design.", min=1)] = 400,
    seed: Annotated[int, typer.Option(help="Of everything.", min=0)] = 0,
) -> None:
    """Measure false alarms, power and coverage of the verdicts of instance evidence."""
    from lab.retention_simulation import RetentionSimulation, simulate_retention

    task = RetentionSimulation(out=out, draws=draws, seed=seed)
    for path in simulate_retention(task, say=lambda line: typer.echo(line, err=True)):
        typer.echo(path)


@app.command()
def checkpoints(
    folder: Annotated[Path, typer.Argument(help="Of `unseen churchyard train generator`.")],
    count: Annotated[int, typer.Option(help="Images a side.", min=2)] = 10_000,
    every: Annotated[
        int, typer.Option(help="Measure each so manieth snapshot, back from the last.", min=1)
    ] = 1,
    without: Annotated[
        str, typer.Option(help="Classes that the training's world is without, e.g. car,fence.")
    ] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "cpu",
) -> None:
    """Measure a generator's training: corrected FSD of its snapshots, and the model card."""
    from lab.training_curve import Checkpoints, measure_checkpoints

    task = Checkpoints(folder=folder, count=count, every=every, without=without, device=device)
    for path in measure_checkpoints(task, say=lambda line: typer.echo(line, err=True)):
        typer.echo(path)


@app.command()
def evidence(
    generator: Annotated[
        str, typer.Argument(help="Spec of the one that chooses.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder; continued if there.", show_default=False)],
    inverter: Annotated[
        str | None,
        typer.Option(help="Its inverter; method nearest needs none.", show_default=False),
    ] = None,
    planted: Annotated[
        str | None,
        typer.Option(help="Spec of one that plays no part in the choice.", show_default=False),
    ] = None,
    planted_inverter: Annotated[
        str | None, typer.Option(help="Its inverter.", show_default=False)
    ] = None,
    without: Annotated[
        str, typer.Option(help="Classes that the training of --planted was without.")
    ] = "car,fence",
    cuts: Annotated[
        str, typer.Option(help="Last perturbed layers to choose from.")
    ] = "layer1,layer2,layer4,layer6",
    perturbed: Annotated[
        str, typer.Option(help="Of all (layers up to the cut) and last (it alone).")
    ] = "all,last",
    regularisations: Annotated[str, typer.Option(help="λ_reg to choose from.")] = "1,10,100",
    seeds: Annotated[int, typer.Option(help="That verdicts are counted over.", min=1)] = 20,
    first_seed: Annotated[int, typer.Option(help="Of these.", min=0)] = 30_003,
    by_class: Annotated[int, typer.Option(help="Scenes, and controls, a class.", min=1)] = 6,
    development_by_class: Annotated[int, typer.Option(help="The same for the choice.", min=1)] = 2,
    pool: Annotated[int, typer.Option(help="Images that these are chosen from.", min=1)] = 500,
    presence: Annotated[int, typer.Option(help="Images a side, for presences.", min=1)] = 2000,
    method: Annotated[
        str, typer.Option(help="With f; d and e show what can be drawn. Or nearest alone.")
    ] = "d,e,f",
    samples: Annotated[
        str, typer.Option(help="Of method nearest, numbers to choose from.")
    ] = "500,1000,2000",
    windows: Annotated[
        str, typer.Option(help="Of method nearest, to choose from.")
    ] = "0.02,0.03,0.045",
    preset: Annotated[str, typer.Option(help="Of the optimiser: default or quick.")] = "default",
    steps: Annotated[
        int | None, typer.Option(help="Of the optimiser. Default: the preset's.", min=1)
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images optimised at once.", min=1)] = 16,
    workers: Annotated[
        int | None, typer.Option(help="Drawing processes. Default: one a core.", min=0)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "cpu",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the segmenter.")] = "fp32",
) -> None:
    """Choose cut, layers and λ_reg (of method nearest samples and window) on development seeds.

    Then count verdicts on other churchyards.
    """
    from lab.verdict_counts import EvidenceBench, Subject, measure_evidence
    from unseen.core.devices import resolve_device
    from unseen.inversion.inversions import METHODS

    if method != "nearest" and (
        inverter is None or (planted is None) != (planted_inverter is None)
    ):
        raise typer.BadParameter(
            "every generator needs its inverter (--inverter, --planted-inverter), but for "
            "--method nearest"
        )
    subjects = [Subject(name="full", generator=generator, inverter=inverter)]
    if planted is not None:
        subjects.append(
            Subject(
                name="planted",
                generator=planted,
                inverter=planted_inverter,
                without=tuple(without.split(",")),
            )
        )
    for name, asked, known in (
        ("--perturbed", perturbed, ("all", "last")),
        ("--method", method, METHODS),
    ):
        if unknown := [one for one in asked.split(",") if one not in known]:
            raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(known)}: {name}")
    task = EvidenceBench(
        out=out,
        subjects=subjects,
        cuts=tuple(cuts.split(",")),
        perturbed=tuple(perturbed.split(",")),  # type: ignore[arg-type]
        regularisations=tuple(_numbers(regularisations, "--regularisations")),
        seeds=seeds,
        first_seed=first_seed,
        by_class=by_class,
        development_by_class=development_by_class,
        pool=pool,
        presence_count=presence,
        samples=tuple(int(one) for one in _numbers(samples, "--samples")),
        windows=tuple(_numbers(windows, "--windows")),
        methods=tuple(method.split(",")),  # type: ignore[arg-type]
        preset=preset,
        steps=steps,
        batch_size=batch_size,
        workers=workers,
        device=resolve_device(device),
        precision=precision,
    )
    for path in measure_evidence(task, say=lambda line: typer.echo(line, err=True)):
        typer.echo(path)


@app.command("inversion-speed")
def inversion_speed(
    generator: Annotated[str, typer.Argument(help="Spec of the generator.", show_default=False)],
    inverter: Annotated[str, typer.Option(help="Its inverter.", show_default=False)],
    images: Annotated[str, typer.Option(help="Photographs.", show_default=False)],
    count: Annotated[int, typer.Option(help="Photographs.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the subset.", min=0)] = 0,
    batch_size: Annotated[int, typer.Option(help="Images optimised at once.", min=1)] = 8,
    preset: Annotated[str, typer.Option(help="Compared with the paper's.")] = "default",
    perceptual: Annotated[
        str | None, typer.Option(help="Features compared.", show_default=False)
    ] = None,
    perturbed: Annotated[
        int | None, typer.Option(help="First layers that f perturbs.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "cpu",
    picture: Annotated[
        Path | None,
        typer.Option(help="Targets and both reconstructions (.png).", show_default=False),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Time the paper's schedule of inversion against the default's on the same photographs."""
    from lab.inversion_speed import InversionSpeed, measure_speed, speed_table

    task = InversionSpeed(
        generator=generator,
        inverter=inverter,
        images=images,
        count=count,
        seed=seed,
        batch_size=batch_size,
        preset=preset,
        perceptual=perceptual,
        perturbed=perturbed,
        device=device,
        picture=picture,
    )
    result = measure_speed(task, say=lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(result, indent=1) if json_ else speed_table(result))


@app.command()
def throughput(
    images: Annotated[str, typer.Option(help="Images.")] = "churchyard?seed=1&resolution=256",
    count: Annotated[int, typer.Option(help="Images a turn.", min=1)] = 20,
    rounds: Annotated[int, typer.Option(help="Turns of each way.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the subset and of the weights.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Decoding processes.", min=0)] = 1,
) -> None:
    """Time Unified Perceptual Parsing with random weights: its labels mean nothing."""
    from lab.random_networks import RandomThroughput, measure_random
    from unseen.bench.throughput import table

    task = RandomThroughput(
        images=images, count=count, rounds=rounds, seed=seed, device=device, workers=workers
    )
    typer.echo(table(measure_random(task, say=lambda line: typer.echo(line, err=True))))


def run(arguments: Sequence[str]) -> int:
    """Run one command line of the laboratory; return its exit status."""
    return run_command(arguments, application=lambda _: app, name="python -m lab")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
