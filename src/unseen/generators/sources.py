"""What a side may be: a set of images, or a generator that draws them; told apart, and read.

Neither torch nor any plug-in is imported before a generator is named.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

from unseen.core.devices import resolve_device
from unseen.core.errors import ImageError, SpecError
from unseen.core.files import as_path
from unseen.core.options import KeepImages, Option, SampleSeed
from unseen.core.registry import call_user_factory, parse_spec, plugin_names, spec_name
from unseen.core.storage import is_url
from unseen.generators import Generator, Precision, load_generator
from unseen.generators.drawn_images import BATCH_SIZE, DrawnImages
from unseen.images import Images, ImageSource, open_images
from unseen.images.pixels import Rounding

_WEIGHTS = (".pth", ".pt", ".pkl", ".safetensors", ".ckpt")  # endings of files of weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """How a generator draws where it stands for a set of images."""

    sample_seed: SampleSeed = 1
    rounding: Annotated[
        Rounding, Option("Rounding of a generator's output to 8 bits. The code of 2019 truncates.")
    ] = "nearest"
    generator_precision: Annotated[
        Precision, Option("Number format of a generator's network. It is recorded.")
    ] = "fp32"
    generator_batch_size: Annotated[int, Option("Images in one call of a generator.", min=1)] = (
        BATCH_SIZE
    )
    keep_images: KeepImages = None

    @property
    def drawing(self) -> "Drawing":
        """These settings alone, also of a task that inherits them."""
        fields = [field.name for field in dataclasses.fields(Drawing)]
        return Drawing(**{name: getattr(self, name) for name in fields})

    def open(
        self,
        side: str | Path | ImageSource | Generator | Images,
        device: str = "auto",
        *,
        skip_broken: bool = False,
    ) -> ImageSource:
        """The images of a side; those of a generator are `DrawnImages`.

        Args:
            side: an image source or a generator, the spec of either, the path of a folder or an
                archive, or images in memory, as `unseen.open_images` takes them. A text is a spec
                where it begins with the name of a plug-in. What `python:MODULE:FACTORY` is, what
                the factory returns tells.
            device: where a generator computes that is named by a spec.
            skip_broken: as in `unseen.open_images`.

        Raises:
            SpecError: the text names nothing, or both images and a generator.
            UnseenError: from the plug-in.
        """
        if isinstance(side, str):
            side = _open(side, device, self.generator_precision, skip_broken)
        if isinstance(side, Generator):
            return DrawnImages(
                side,
                seed=self.sample_seed,
                rounding=self.rounding,
                batch_size=self.generator_batch_size,
            )
        return open_images(side, skip_broken=skip_broken)


def keep_drawn(source: ImageSource, folder: Path, *, overwrite: bool = False) -> DrawnImages:
    """The same generator's images, kept in a folder as `unseen sample` writes them.

    Raises:
        SpecError: the source is no generator.
    """
    if not isinstance(source, DrawnImages):
        raise SpecError(
            f"{source.spec} is images already, and only a generator's are kept; leave the folder "
            "for images out"
        )
    return dataclasses.replace(source, keep=folder, overwrite=overwrite)


def _open(
    text: str, device: str, precision: Precision, skip_broken: bool
) -> ImageSource | Generator:
    name = spec_name(text)
    draws, reads = (name in plugin_names(kind) for kind in ("generators", "images"))
    if draws and reads:
        if name != "python":
            raise SpecError(
                f"{text!r}: {name} is the name of an image source and of a generator here; open it "
                "in Python, by unseen.open_images or unseen.load_generator"
            )
        return _python(text, device, precision)
    if draws:
        return load_generator(text, device=device, precision=precision)
    if is_url(text):
        return open_images(text, skip_broken=skip_broken)
    path = as_path(text)
    if not reads and path.suffix in _WEIGHTS and path.is_file():
        raise ImageError(
            f"{text} is no set of images; if it holds a generator's weights, say of which kind, "
            f"e.g. progan:{text}"
        )
    if not reads and ":" in text and "://" not in text and not path.exists():
        listed = (", ".join(plugin_names(kind)) for kind in ("images", "generators"))
        raise SpecError(
            "{!r} is neither an existing path nor a known spec; image sources: {}; "
            "generators: {}".format(text, *listed)
        )
    return open_images(text, skip_broken=skip_broken)


def _python(text: str, device: str, precision: Precision) -> ImageSource | Generator:
    """What the user's factory returns, called once where that is a generator."""
    spec = parse_spec(text)
    offered = {"device": resolve_device(device), "precision": precision}
    made, taken = call_user_factory(spec, offered, what="images or generator", error=SpecError)
    if not isinstance(made, Generator):
        return open_images(text)
    from unseen.generators.custom import python_generator

    return python_generator(spec, made, taken, precision)
