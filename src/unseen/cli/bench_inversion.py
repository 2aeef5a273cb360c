"""`unseen bench inversion` and `unseen bench cross-domain`: figures of layer inversion."""

from pathlib import Path
from typing import Annotated

import typer

from unseen.cli.progress import progress_bar
from unseen.core.progress import silent

# Options of both commands.
Steps = Annotated[
    int | None,
    typer.Option(help="Of the optimiser. Default: the preset's.", min=1, show_default=False),
]
Cut = Annotated[
    str | None,
    typer.Option(help="Layer whose features are r. Default: the inverter's.", show_default=False),
]
Perturbed = Annotated[
    int | None,
    typer.Option(
        help="First layers that f perturbs. Default: the preset's; up to the cut.",
        show_default=False,
    ),
]
Regularisation = Annotated[
    float | None,
    typer.Option(
        help="f's weight of the perturbations' squares. Default: the preset's.",
        min=0.0,
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace other inversions in the folder.")
]


def inversion(
    generator: Annotated[str, typer.Argument(help="Spec of the generator.", show_default=False)],
    inverter: Annotated[
        str, typer.Option(help="Its layer-wise inverter: a file or a spec.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of inversions, tables and figures; continued if there.", show_default=False
        ),
    ],
    encoder: Annotated[
        str | None,
        typer.Option(
            help="An inverter trained end to end, for methods b and c; else they are left out.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="Generated images.")] = 100,
    images: Annotated[
        str, typer.Option(help="Photographs: a folder, an archive or a spec.")
    ] = "churchyard?seed=20003",
    examples: Annotated[
        int, typer.Option(help="Generated images, and photographs, in the rows of examples.", min=1)
    ] = 3,
    preset: Annotated[
        str, typer.Option(help="default, or the paper's iccv2019 (for a to e: iccv2019-z).")
    ] = "default",
    steps: Steps = None,
    cut: Cut = None,
    perturbed: Perturbed = None,
    regularisation: Regularisation = None,
    perceptual: Annotated[
        str | None,
        typer.Option(help="Features compared. Default: as `unseen invert`.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the generated images' latents. Default: 60006.",
            min=0,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images optimised at once.", min=1)] = 8,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Figure 6: how well each of the six methods recovers z, r and x of generated images.

    Their correlations with the truth, with intervals, as a table and CSV; whether the paper's
    order holds; scatter plots and rows of examples.
    """
    from unseen.bench.inversion_methods import GENERATED_SEED, MethodComparison, compare_methods

    task = MethodComparison(
        out=out,
        generator=generator,
        inverter=inverter,
        encoder=encoder,
        count=count,
        seed=GENERATED_SEED if seed is None else seed,
        photographs=images,
        examples=examples,
        preset=preset,
        steps=steps,
        cut=cut,
        perturbed=perturbed,
        regularisation=regularisation,
        perceptual=perceptual,
        batch_size=batch_size,
        device=device,
        overwrite=overwrite,
    )
    with progress_bar("invert", unit="reconstructions") as progress:
        written = list(compare_methods(task, progress=progress or silent))
    typer.echo((out / "methods.md").read_text(encoding="utf-8"))
    for path in written:
        typer.echo(path)


def cross_domain(
    generator: Annotated[str, typer.Argument(help="Spec of the generator.", show_default=False)],
    inverter: Annotated[
        str, typer.Option(help="Its inverter: a file or a spec.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of inversions, tables and figures; continued if there.", show_default=False
        ),
    ],
    training: Annotated[
        str | None,
        typer.Option(
            help="Images that the generator was trained on, or like them: a folder, an archive or "
            "a spec.",
            show_default=False,
        ),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option(help="The same kind, never trained on.", show_default=False),
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(
            help="Images of a neighbouring kind, as NAME=IMAGES (outdoor=photos/outdoor); may be "
            "given several times.",
            show_default=False,
        ),
    ] = None,
    unrelated: Annotated[
        str | None, typer.Option(help="Images of nothing like it.", show_default=False)
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="A further generator for the unrelated images; may be given several times.",
            show_default=False,
        ),
    ] = None,
    also_inverter: Annotated[
        list[str] | None,
        typer.Option(help="Its inverter; one for every --also.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option(help="Images of every group.", min=2)] = 100,
    shown: Annotated[int, typer.Option(help="Of them in the figures: the first.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Of the subsets.", min=0)] = 0,
    method: Annotated[str, typer.Option(help="Of a, d, e, f; see `unseen invert`.")] = "f",
    preset: Annotated[str, typer.Option(help="default, iccv2019 or iccv2019-z.")] = "default",
    steps: Steps = None,
    cut: Cut = None,
    perturbed: Perturbed = None,
    regularisation: Regularisation = None,
    perceptual: Annotated[
        str | None,
        typer.Option(
            help="Features compared. Default: as `unseen invert` of the first group.",
            show_default=False,
        ),
    ] = None,
    segmenter: Annotated[
        str | None,
        typer.Option(help="Whose features, where they are a segmenter's.", show_default=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images optimised at once.", min=1)] = 16,
    device: Device = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Figures 7 and 8: images of other domains through a generator, or through several.

    Uncurated images of every group over their reconstructions, the losses of each group, and the
    loss of training images minus held-out ones, with its interval.
    """
    from unseen.bench.cross_domain import CrossDomain, invert_domains

    task = CrossDomain(
        out=out,
        generator=generator,
        inverter=inverter,
        training=training,
        held_out=held_out,
        other=other or (),
        unrelated=unrelated,
        also=also or (),
        also_inverter=also_inverter or (),
        count=count,
        seed=seed,
        method=method,  # type: ignore[arg-type]
        preset=preset,
        steps=steps,
        cut=cut,
        perturbed=perturbed,
        regularisation=regularisation,
        perceptual=perceptual,
        segmenter=segmenter,
        shown=shown,
        batch_size=batch_size,
        device=device,
        overwrite=overwrite,
    )
    with progress_bar("invert", unit="reconstructions") as progress:
        written = list(invert_domains(task, progress=progress or silent))
    typer.echo((out / "cross-domain.md").read_text(encoding="utf-8"))
    for path in written:
        typer.echo(path)
