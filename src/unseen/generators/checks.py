"""What any generator must be, and what it draws: floats of the right shape, finite, in [−1, 1]."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unseen.core.errors import GeneratorError, memory_for
from unseen.core.files import canonical_json
from unseen.core.user_code import user_code
from unseen.generators.protocol import Generator

if TYPE_CHECKING:
    from torch import Tensor

_FAR = 1.5  # a network that ends without tanh overshoots 1, but hardly as far as this
_MOST_FAR = 0.01  # of the values of a batch
_MOST = {"latent_size": 2**20, "resolution": 16_384}  # images of that side take 800 MB each
_MEMBERS = ("provenance", "draw")


def check_generator(generator: Any, name: str) -> Generator:
    """The same object, if it has every member of a `Generator`.

    Args:
        generator: any object.
        name: how messages call it, e.g. its spec.

    Raises:
        GeneratorError: a member is missing, has the wrong form, or raises when it is read.
    """
    with user_code(name, GeneratorError):
        if missing := [member for member in _MEMBERS if not hasattr(generator, member)]:
            raise GeneratorError(
                f"{name} made a {type(generator).__name__}, which lacks {', '.join(missing)}; "
                "return unseen.FunctionGenerator(function, latent_size=…, resolution=…)"
            )
        for member, most in _MOST.items():
            value = getattr(generator, member, 1)  # only what is layered must have them
            if type(value) is not int or not 1 <= value <= most:
                raise GeneratorError(
                    f"{name} has {member}={value!r:.60}; a whole number from 1 to {most} is needed"
                )
        if not isinstance(generator.provenance, Mapping):
            raise GeneratorError(f"{name} has no provenance (a dict of what decides its images)")
        try:
            json.loads(canonical_json(dict(generator.provenance)).encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise GeneratorError(f"{name} has a provenance that is no JSON ({error})") from error
    checked: Generator = generator
    return checked


def draw(generator: Generator, indices: Sequence[int], *, seed: int, name: str) -> "Tensor":
    """The images with these indices (n 3 h w), checked, in float32 and without gradient.

    Raises:
        GeneratorError: the generator raised, called sys.exit, or drew what is no image.
        OutOfMemoryError: memory ran out.
        SampleError: a negative index, or a seed out of range.
    """
    import torch

    advice = "use a smaller --generator-batch-size (--batch-size of unseen sample)"
    with (
        torch.no_grad(),
        user_code(name, GeneratorError),
        memory_for(f"{name} drew {len(indices)} images at once", advice),
    ):
        side = getattr(generator, "resolution", None)
        return checked_images(generator.draw(indices, seed=seed), indices, side, name)


def checked_images(
    images: Any, indices: Sequence[int], resolution: int | None, source: str
) -> "Tensor":
    """Images (n 3 h w) in float32 and without gradient; grey ones (n 1 h w) get equal channels.

    Values a little outside [−1, 1] are left as they are.

    Args:
        images: what a generator returned.
        indices: of the images that were asked for.
        resolution: their side, in pixels; None: images may have any height and width.
        source: what an error message calls the generator.

    Raises:
        GeneratorError: it is no tensor of floats of that shape, a value is not finite, or more
            than 1 % of them lie beyond ±1.5.

    >>> import torch
    >>> checked_images(torch.zeros(2, 1, 8, 8), [4, 5], 8, "mine").shape
    torch.Size([2, 3, 8, 8])
    """
    import torch

    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        what = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise GeneratorError(f"{source} drew {what}; a tensor of floats in [−1, 1] is needed")
    count, shape = len(indices), tuple(images.shape)
    sides = shape[2:] if resolution is None else (resolution, resolution)
    fits = len(sides) == 2 and all(1 <= side <= _MOST["resolution"] for side in sides)
    if not fits or shape not in ((count, 3, *sides), (count, 1, *sides)):
        needed = "h, w" if resolution is None else f"{resolution}, {resolution}"
        raise GeneratorError(
            f"{source} drew images of shape {shape} for {count} indices; ({count}, 3, {needed}) is "
            f"needed, or ({count}, 1, {needed}) for grey"
        )
    values: Tensor = images.detach().float()
    broken = (~torch.isfinite(values)).flatten(1).any(dim=1).nonzero()
    if len(broken):
        raise GeneratorError(
            f"{source} drew values that are not finite in image {indices[int(broken[0])]}; "
            "try fp32, or other weights"
        )
    if values.numel() and (values.abs() > _FAR).float().mean() > _MOST_FAR:
        raise GeneratorError(
            f"{source} drew values from {float(values.min()):.4g} to {float(values.max()):.4g}; "
            "images in [−1, 1] are needed: scale what it returns"
        )
    return values.expand(-1, 3, -1, -1)
