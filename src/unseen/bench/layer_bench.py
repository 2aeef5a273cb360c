"""What the two benches of layer inversion share: their options, and one run of `unseen invert`."""

import dataclasses
from pathlib import Path
from typing import Any

from unseen.bench.grids import Rebuilt
from unseen.core.progress import Progress
from unseen.generators import Generator
from unseen.inversion.inversions import Inversions, InvertedImage, Method
from unseen.inversion.invert import InversionRun, invert
from unseen.inversion.inverter import Inverter
from unseen.inversion.methods import Inversion
from unseen.segmenters import Segmenter

_CHANGES = ("steps", "cut", "perturbed", "regularisation", "perceptual")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerBench:
    """Options of both benches; a run goes on in the folder where it stopped."""

    out: Path  # folder of the inversions, figures and tables
    generator: str  # a spec
    inverter: str  # its layer-wise inverter: a file or a spec
    preset: str = "default"  # of the optimiser
    steps: int | None = None  # of the optimiser; None: the preset's
    cut: str | None = None  # layer whose features are r; None: the inverter's
    perturbed: int | None = None  # first layers that f perturbs; None: the preset's
    regularisation: float | None = None  # f's weight of the perturbations' squares
    perceptual: str | None = None  # features compared; None: what suits the photographs
    batch_size: int = 16  # images optimised at once
    device: str = "cpu"  # cpu, cuda, cuda:N or auto
    overwrite: bool = False  # replace inversions by other settings in the folder

    @property
    def changes(self) -> dict[str, Any]:
        """Of the preset: the options that were given."""
        values = {name: getattr(self, name) for name in _CHANGES}
        return {name: value for name, value in values.items() if value is not None}

    def invert(
        self,
        method: Method,
        settings: Inversion,
        photographs: str,
        generator: Generator,
        inverter: Inverter | None,
        *,
        out: Path,
        progress: Progress,
        encoder: Inverter | None = None,
        segmenter: Segmenter | None = None,
        **images: Any,
    ) -> Inversions:
        """Invert by one method; `images` are the fields of `InversionRun` that choose them."""
        run = InversionRun(
            methods=(method,),
            settings=settings,
            batch_size=self.batch_size,
            overwrite=self.overwrite,
            **images,
        )
        return invert(
            photographs,
            generator,
            inverter,
            out=out,
            encoder=encoder,
            segmenter=segmenter,
            task=run,
            progress=progress,
        )


def rebuilt(record: Inversions, image: InvertedImage, method: Method) -> Rebuilt:
    """What the method made of the image; no picture where it failed."""
    result = image.reconstructions[method]
    if result.failed is not None:
        return Rebuilt(None, None)
    return Rebuilt(record.reconstruction(image, method), result.correlation)
