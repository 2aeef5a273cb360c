"""The churchyard's generators, shipped trained: `churchyard-full` and `churchyard-planted`.

Both are ProGANs of one recipe. The full one was shown the whole world, the planted one the world
without cars and fences: an omission that is known, beside those that nobody planted.
"""

from pathlib import Path

from unseen.core.registry import Spec, takes
from unseen.generators.layered import NetworkGenerator
from unseen.generators.progan import open_progan
from unseen.generators.protocol import Precision

PLANTED = ("car", "fence")  # what churchyard-planted was never shown

_FOLDER = Path(__file__).parent / "weights"
WEIGHTS = {
    "churchyard-full": _FOLDER / "full.safetensors",
    "churchyard-planted": _FOLDER / "planted.safetensors",
}
"""The files by spec; beside each lies its model card, with the ending `.md`."""


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
