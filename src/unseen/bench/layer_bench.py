"""What the two benches of layer inversion share: their options, and what was reconstructed."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from unseen.bench.grids import Rebuilt
from unseen.core.options import Argument, Device, Option, Overwrite, check_options
from unseen.inversion.inversions import Inversions, InvertedImage, Method
from unseen.inversion.invert import InversionRun
from unseen.inversion.methods import Cut, Inversion, Steps

_CHANGES = ("steps", "cut", "perturbed", "regularisation", "perceptual")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerBench:
    """Options of both benches; a run goes on in the folder where it stopped."""

    out: Annotated[
        Path, Option("Folder for the inversions, the figures and the tables.", short="-o")
    ]
    generator: Annotated[str, Argument("Spec of the generator.")]
    preset: Annotated[
        str, Option("Settings of the optimiser: default, soap, quick, or the paper's iccv2019.")
    ] = "default"
    steps: Steps = None
    cut: Cut = None
    perturbed: Annotated[
        int | None,
        Option("First layers that method f perturbs. Default: the preset's.", min=1),
    ] = None
    regularisation: Annotated[
        float | None,
        Option("Weight of the squared perturbations (λ_reg). Default: the preset's.", max=1e9),
    ] = None
    perceptual: Annotated[
        str | None,
        Option("Features that are compared. Default: what suits the photographs."),
    ] = None
    batch_size: Annotated[int, Option("Images optimised at once.", min=1)] = 16
    device: Device = "auto"
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def changes(self) -> dict[str, Any]:
        """Of the preset: the options that were given."""
        values = {name: getattr(self, name) for name in _CHANGES}
        return {name: value for name, value in values.items() if value is not None}

    def run(self, method: Method, settings: Inversion, **images: Any) -> InversionRun:
        """What `unseen.inversion.invert` is told; `images` are the fields that choose images."""
        return InversionRun(
            methods=(method,),
            settings=settings,
            batch_size=self.batch_size,
            overwrite=self.overwrite,
            **images,
        )


def rebuilt(record: Inversions, image: InvertedImage, method: Method) -> Rebuilt:
    """What the method made of the image; no picture where it failed."""
    result = image.reconstructions[method]
    if result.failed is not None:
        return Rebuilt(None, None)
    return Rebuilt(record.reconstruction(image, method), result.correlation)
