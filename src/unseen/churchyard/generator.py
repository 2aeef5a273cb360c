"""The churchyard's generators, shipped trained: two ProGANs and two latent diffusion models.

Of each kind one was shown the whole world, and its twin the world without cars and fences: an
omission that is known, beside those that nobody planted.
"""

import dataclasses
from pathlib import Path

from unseen.core.errors import CheckpointError
from unseen.core.registry import Spec, takes
from unseen.generators.diffusers_pipeline import PipelineGenerator, open_pipeline
from unseen.generators.layered import NetworkGenerator
from unseen.generators.progan import open_progan
from unseen.generators.protocol import Precision

PLANTED = ("car", "fence")  # what the twins, whose names end in -planted, were never shown
STEPS = 25  # of the diffusion models, unless the spec says otherwise

_FOLDER = Path(__file__).parent / "weights"
WEIGHTS = {
    "churchyard-full": _FOLDER / "full.safetensors",
    "churchyard-planted": _FOLDER / "planted.safetensors",
}
"""The files by spec; beside each lies its model card, with the ending `.md`."""
PIPELINES = {
    "churchyard-diffusion": _FOLDER / "diffusion",
    "churchyard-diffusion-planted": _FOLDER / "diffusion-planted",
}
"""The folders by spec, in diffusers' own format; their model cards lie beside them, too."""
TWINS = {
    "churchyard-full": "churchyard-planted",
    "churchyard-diffusion": "churchyard-diffusion-planted",
}
"""Those that were shown the whole world → those that were not shown what is planted."""


@takes(argument=False)
def load_churchyard_generator(
    spec: Spec, *, device: str = "cpu", precision: Precision = "fp32"
) -> NetworkGenerator:
    """`churchyard-full` or `churchyard-planted`: 64×64, layers as the paper's ProGAN names them.

    Weights of your own training are `progan:FILE`.

    Raises:
        SpecError: an argument or an option; there are none.
    """
    return open_progan(WEIGHTS[spec.name], spec, device=device, precision=precision)


@takes("steps", "scheduler", "checkpointing", argument=False)
def load_churchyard_diffusion(
    spec: Spec, *, device: str = "cpu", precision: Precision = "fp32"
) -> PipelineGenerator:
    """`churchyard-diffusion` or `churchyard-diffusion-planted`: 64×64, by 25 steps of DDIM.

    Options: `steps`, `scheduler` and `checkpointing`, as `diffusers:FOLDER` takes them; the last is
    off, since so small a model's steps fit in memory.

    Raises:
        SpecError: an argument, an unknown option, or an impossible value.
        MissingExtraError: diffusers is not installed.
        CheckpointError: this copy of the package has no such weights.
    """
    folder = PIPELINES[spec.name]
    if not folder.is_dir():
        raise CheckpointError(
            f"{spec.text!r}: this copy of the package has no {folder}; train the model and put it "
            "there with `python -m lab train ship-diffusion`"
        )
    options = {"steps": str(STEPS), "checkpointing": "off", **spec.options}
    told = dataclasses.replace(spec, options=options)
    return open_pipeline(folder, told, device=device, precision=precision)
