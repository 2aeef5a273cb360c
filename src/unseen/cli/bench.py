"""`unseen bench`: measurements of the method itself."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from unseen.cli import bench_inversion

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__)


@app.callback()
def _bench() -> None:
    """Measure the method itself."""


app.command()(bench_inversion.inversion)
app.command()(bench_inversion.cross_domain)


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


@app.command()
def retention(
    out: Annotated[Path, typer.Argument(help="Folder of the tables.")],
    draws: Annotated[int, typer.Option(help="Draws of every design.", min=1)] = 400,
    seed: Annotated[int, typer.Option(help="Of everything.", min=0)] = 0,
) -> None:
    """Measure false alarms, power and coverage of the verdicts of instance evidence."""
    from unseen.bench.retention import RetentionSimulation, simulate_retention

    task = RetentionSimulation(out=out, draws=draws, seed=seed)
    for path in simulate_retention(task, say=lambda line: typer.echo(line, err=True)):
        typer.echo(path)


@app.command()
def throughput(
    segmenter: Annotated[str, typer.Argument(help="Spec of the segmenter.")],
    images: Annotated[
        str, typer.Option(help="Images: a folder, an archive or a spec.")
    ] = "churchyard?seed=1&resolution=256",
    count: Annotated[int, typer.Option(help="Images a turn.")] = 20,
    rounds: Annotated[int, typer.Option(help="Turns of each way, after one to warm up.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the subset, and of random weights.")] = 0,
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="UPP without its files; its labels mean nothing."),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "cpu",
    precisions: Annotated[str, typer.Option(help="Of fp32 and bf16.")] = "fp32,bf16",
    workers: Annotated[int, typer.Option(help="Decoding processes.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure images a second through the whole path against a plain loop in the same run."""
    import json

    from unseen.bench.throughput import Throughput, measure, table
    from unseen.devices import resolve_device

    task = Throughput(
        segmenter=segmenter,
        images=images,
        count=count,
        rounds=rounds,
        seed=seed,
        random_weights=random_weights,
        device=resolve_device(device),
        precisions=tuple(precisions.split(",")),
        workers=workers,
    )
    result = measure(task, say=lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(result, indent=1) if json_ else table(result))
    if random_weights and not json_:
        typer.echo(f"(random weights, seed {seed}: speed is real, labels mean nothing)")


@app.command()
def sampling(
    generator: Annotated[
        str | None,
        typer.Argument(
            help="Spec of the generator. Default: the shapes of the published ProGAN at 256×256, "
            "with random weights.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="Images a turn.", min=1)] = 8,
    rounds: Annotated[
        int, typer.Option(help="Turns of each way, after one to warm up.", min=1)
    ] = 3,
    batch_size: Annotated[int, typer.Option(help="Images a call of the generator.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Of latents, and of random weights.")] = 1,
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
        str,
        typer.Option(help="Pool of images. Any but the churchyard is filtered: detection only."),
    ] = "churchyard?seed=90210",
    segmenter: Annotated[
        str | None, typer.Option(help="Spec; churchyard for the churchyard, else upp.")
    ] = None,
    classes: Annotated[str, typer.Option(help="Planted, one at a time.")] = "person,fence,car,palm",
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
    from unseen.bench.checkpoints import Checkpoints, measure_checkpoints

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
    from unseen.bench.evidence import EvidenceBench, Subject, measure_evidence
    from unseen.devices import resolve_device
    from unseen.records.inversions import METHODS

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
