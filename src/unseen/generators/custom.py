"""`python:MODULE:FACTORY`: a generator that the user wrote, or a function made into one."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unseen.core.devices import resolve_device
from unseen.core.errors import GeneratorError
from unseen.core.files import as_path, sha256_of_file
from unseen.core.registry import Spec, call_user_factory
from unseen.core.user_code import module_files, user_code
from unseen.generators.checks import check_generator, checked_images
from unseen.generators.latents import LatentStream
from unseen.generators.protocol import Generator, Precision


@dataclasses.dataclass(eq=False)
class FunctionGenerator:
    """Any function from latents (n z) to images (n 3 h w) in [−1, 1], as a generator.

    It has no layers, so it can be sampled and compared, and not split. Every call is checked:
    images must be square, of the resolution, of three channels or one (grey), finite, and in
    [−1, 1]; values a little outside are clamped.

    >>> import torch
    >>> black = FunctionGenerator(lambda z: -torch.ones(len(z), 3, 8, 8), 4, 8)
    >>> DrawnImages(black).read(0).max()
    np.uint8(0)
    """

    function: Callable[[Tensor], Tensor]  # called without gradient
    latent_size: int
    resolution: int
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    device: str = "cpu"  # where latents are given to the function

    def __post_init__(self) -> None:
        self._stream = LatentStream(self.latent_size)

    def latents(self, indices: Iterable[int], *, seed: int = 1) -> Float[Tensor, "n z"]:
        """Rows of `numpy.random.RandomState(seed)`'s stream: image k has row k."""
        rows = torch.from_numpy(self._stream.rows(indices, seed))
        return rows.to(torch.device(resolve_device(self.device)))

    def draw(self, indices: Sequence[int], *, seed: int = 1) -> Float[Tensor, "n 3 h w"]:
        """The images of the latents with these indices."""
        return self(self.latents(indices, seed=seed))

    def __call__(self, latents: Float[Tensor, "n z"]) -> Float[Tensor, "n 3 h w"]:
        """Images in [−1, 1], in float32 and without gradient.

        Raises:
            GeneratorError: the function gave something else.
        """
        with torch.no_grad(), user_code("the generator", GeneratorError):
            images = self.function(latents)
        return checked_images(images, range(len(latents)), self.resolution, "the generator").clamp(
            -1, 1
        )


def load_python(spec: Spec, *, device: str = "cpu", precision: Precision = "fp32") -> Generator:
    """`python:MODULE:FACTORY` calls your factory, which returns the generator.

    The factory gets `device`, `precision` and the spec's options, if it takes them. What it returns
    says its own provenance. Added are the spec, the SHA-256 of the module and of every module that
    it imports from its own folder, and that of every file that an option names.

    Raises:
        SpecError: no such module or factory, or it does not take the options.
        GeneratorError: what it returned is no generator, or it takes no precision.
    """
    offered = {"device": device, "precision": precision}
    made, taken = call_user_factory(spec, offered, what="generator", error=GeneratorError)
    return python_generator(spec, made, taken, precision)


def python_generator(
    spec: Spec, generator: Any, taken: Collection[str], precision: Precision
) -> Generator:
    """What the user's factory returned, checked and with its provenance.

    Args:
        spec: which factory it was.
        generator: what it returned.
        taken: names of the arguments that it took.
        precision: asked for.

    Raises:
        GeneratorError: it is no generator, or the factory takes no precision.
    """
    if precision != "fp32" and "precision" not in taken:
        raise GeneratorError(
            f"{spec.text} takes no precision, and {precision} was asked for; leave it at fp32"
        )
    checked = check_generator(generator, spec.text)
    files = {name: as_path(value) for name, value in spec.options.items()}
    provenance = {
        **checked.provenance,
        "spec": spec.text,
        "module_sha256": module_files(spec.require_argument("module:factory").partition(":")[0]),
        "file_sha256": {
            name: sha256_of_file(path) for name, path in files.items() if path.is_file()
        },
        **({"precision": precision} if "precision" in taken else {}),
    }
    with user_code(f"{spec.text}: setting provenance", GeneratorError):
        object.__setattr__(checked, "provenance", provenance)
    return checked
