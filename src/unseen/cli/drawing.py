"""The options of every command that may have a generator as a side."""

from pathlib import Path
from typing import Annotated, Literal

import typer

LatentSeed = Annotated[int, typer.Option(min=0, help="Of a generator's latents; the paper's is 1.")]
RoundingChoice = Annotated[
    Literal["nearest", "truncate"],
    typer.Option(help="Of a generator's output to 8 bits; the code of 2019 truncates."),
]
GeneratorPrecision = Annotated[
    Literal["fp32", "bf16"], typer.Option(help="Of a generator; recorded.")
]
GeneratorBatchSize = Annotated[int, typer.Option(min=1, help="Images a call of a generator.")]
KeepImages = Annotated[
    Path | None,
    typer.Option(
        help="Folder to keep what a generator draws, as unseen sample writes it; what is there "
        "is not drawn again.",
        show_default=False,
    ),
]
