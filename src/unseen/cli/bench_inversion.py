"""`unseen bench inversion` and `unseen bench cross-domain`: figures of layer inversion."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unseen.cli.progress import progress_bar
from unseen.pipeline.progress import silent


def inversion(
    generator: Annotated[str, typer.Argument(help="Spec of the generator.", show_default=False)],
    inverter: Annotated[
        str, typer.Option(help="Its layer-wise inverter: a file or a spec.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of inversions, tables and figures; continued if there. Not for --speed.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="An inverter trained end to end, for methods b and c; else they are left out.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            help="Generated images; of --speed photographs. Default: 100; 8.", show_default=False
        ),
    ] = None,
    images: Annotated[
        str, typer.Option(help="Photographs: a folder, an archive or a spec.")
    ] = "churchyard?seed=20003",
    examples: Annotated[
        int, typer.Option(help="Generated images, and photographs, in the rows of examples.", min=1)
    ] = 3,
    preset: Annotated[
        str, typer.Option(help="default, or the paper's iccv2019 (for a to e: iccv2019-z).")
    ] = "default",
    steps: Annotated[
        int | None,
        typer.Option(help="Of the optimiser. Default: the preset's.", min=1, show_default=False),
    ] = None,
    cut: Annotated[
        str | None,
        typer.Option(
            help="Layer whose features are r. Default: the inverter's.", show_default=False
        ),
    ] = None,
    perturbed: Annotated[
        int | None,
        typer.Option(
            help="First layers that f perturbs. Default: the preset's; up to the cut.",
            show_default=False,
        ),
    ] = None,
    perceptual: Annotated[
        str | None,
        typer.Option(help="Features compared. Default: as `unseen invert`.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of the generated images' latents; of --speed of the subset. Default: 60006; 0.",
            min=0,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Images optimised at once; of --speed, of the default.", min=1)
    ] = 8,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "cpu",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other inversions in the folder.")
    ] = False,
    speed: Annotated[
        bool,
        typer.Option("--speed", help="Time the paper's schedule against the default's instead."),
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="With --speed: targets and both reconstructions (.png).", show_default=False
        ),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="With --speed: print JSON instead of a table.")
    ] = False,
) -> None:
    """Figure 6: how well each of the six methods recovers z, r and x of generated images.

    Their correlations with the truth, with intervals, as a table and CSV; whether the paper's
    order holds; scatter plots and rows of examples. With --speed instead: time and final loss of
    the paper's schedule and the default's on the same photographs.
    """
    if speed:
        told = {"--out": out, "--encoder": encoder, "--steps": steps, "--cut": cut}
        if unused := [name for name, value in told.items() if value is not None]:
            raise typer.BadParameter(f"{unused[0]} says nothing of --speed; leave it out")
        _speed(
            json_,
            picture,
            generator=generator,
            inverter=inverter,
            images=images,
            count=8 if count is None else count,
            seed=seed or 0,
            batch_size=batch_size,
            preset=preset,
            perceptual=perceptual,
            perturbed=perturbed,
            device=device,
        )
        return
    from unseen.bench.inversion_methods import GENERATED_SEED, MethodComparison, compare_methods

    if out is None:
        raise typer.BadParameter("name the folder of the results: --out; or measure --speed")
    changes = {"steps": steps, "cut": cut, "perturbed": perturbed, "perceptual": perceptual}
    task = MethodComparison(
        out=out,
        generator=generator,
        inverter=inverter,
        encoder=encoder,
        count=100 if count is None else count,
        seed=GENERATED_SEED if seed is None else seed,
        photographs=images,
        examples=examples,
        preset=preset,
        changes={name: value for name, value in changes.items() if value is not None},
        batch_size=batch_size,
        device=device,
        overwrite=overwrite,
    )
    with progress_bar("invert", unit="reconstructions") as progress:
        written = list(compare_methods(task, progress=progress or silent))
    typer.echo((out / "methods.md").read_text(encoding="utf-8"))
    for path in written:
        typer.echo(path)


def _speed(json_: bool, picture: Path | None, **fields: Any) -> None:
    """Time the default against the paper's schedule."""
    import json

    from unseen.bench.inversion import Speed, measure_speed, speed_table

    task = Speed(**fields)
    result = measure_speed(task, picture=picture, say=lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(result, indent=1) if json_ else speed_table(result))
