"""JPEG images a second that one core decodes, by the package and by other decoders.

Each image of the set is made a square of 256 and of 1,024 pixels and encoded as most cameras and
web pages do it: quality 90, colours at half the resolution. Every decoder is given the same bytes,
turn by turn, and its pixels are compared with Pillow's.
"""

import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from unseen.bench.throughput import Throughput
from unseen.bench.timing import Compared, Timed, take_turns, timing_record, timing_table
from unseen.images import Preparation, open_images, subset
from unseen.images.decode import as_picture, decode
from unseen.images.protocol import read_image

_SIDES = (256, 1024)
_QUALITY = 90
_COLUMNS = (
    Compared("per_core", "images/s a core", "{:,.0f}".format),
    Compared("differing", "values that differ", lambda share: f"{100 * share:.3g} %"),
)

Decoder = Callable[[bytes], UInt8[np.ndarray, "h w 3"]]


def measure_decoding(
    task: Throughput, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Decode the images of a task by every decoder that is installed, turn by turn.

    Args:
        task: its images, count, rounds and seed.
        say: told of every turn, and of decoders that are not here.

    Returns:
        JSON: the task, the machine, and for each decoder and size its speed and how its pixels
        differ from Pillow's.

    Raises:
        UnseenError: from the image source.
    """
    source = open_images(task.images)
    pictures = [read_image(source, k) for k in subset(source, task.count, task.seed)]
    decoders, skipped = _decoders()
    for way, reason in skipped.items():
        say(f"{way}: skipped, {reason}")
    measured: list[Timed] = []
    compared: dict[str, dict[str, float]] = {}
    for side in _SIDES:
        files = [_encoded(Preparation(side).apply(picture)) for picture in pictures]
        ways = {f"{side}², {way}": _decoding(files, decoder) for way, decoder in decoders.items()}
        timed = take_turns(ways, images=len(files), rounds=task.rounds, say=say)
        for measurement, decoder in zip(timed, decoders.values(), strict=True):
            compared[measurement.way] = {
                "per_core": 1 / measurement.cpu_seconds_per_image,
                "differing": _differing(files, decoder),
            }
        measured += timed
    return timing_record(task, measured, _COLUMNS, compared, skipped)


def decoding_table(result: dict[str, Any]) -> str:
    """The measurements as a table in Markdown."""
    return timing_table(result, _COLUMNS)


def _encoded(picture: UInt8[np.ndarray, "3 h w"]) -> bytes:
    file = io.BytesIO()
    image = as_picture(picture)
    image.save(file, "JPEG", quality=_QUALITY, subsampling="4:2:0")
    return file.getvalue()


def _decoding(files: Sequence[bytes], decoder: Decoder) -> Callable[[], object]:
    def work() -> None:
        for content in files:
            decoder(content)

    return work


def _differing(files: Sequence[bytes], decoder: Decoder) -> float:
    """The share of values that are others than Pillow's."""
    shares = [np.mean(decoder(content) != _pillow(content)) for content in files]
    return float(np.mean(shares))


def _pillow(content: bytes) -> UInt8[np.ndarray, "h w 3"]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def _decoders() -> tuple[dict[str, Decoder], dict[str, str]]:
    """The decoders that are installed, Pillow first; and why the others are skipped."""
    decoders: dict[str, Decoder] = {
        "plain (Pillow)": _pillow,
        "unseen": lambda content: np.moveaxis(decode(io.BytesIO(content), "image"), 0, -1),
    }
    skipped: dict[str, str] = {}
    optional: Mapping[str, Callable[[], Decoder]] = {
        "simplejpeg": _simplejpeg,
        "PyTurboJPEG": _turbojpeg,
        "torchvision": _torchvision,
    }
    for way, load in optional.items():
        try:
            decoders[way] = load()
        except ImportError:
            skipped[way] = "not installed"
        except (OSError, RuntimeError) as error:  # its library in C is missing
            skipped[way] = str(error)
    return decoders, skipped


def _simplejpeg() -> Decoder:
    module = importlib.import_module("simplejpeg")
    return lambda content: np.asarray(module.decode_jpeg(content, "RGB"))


def _turbojpeg() -> Decoder:
    module = importlib.import_module("turbojpeg")
    library = module.TurboJPEG()
    return lambda content: np.asarray(library.decode(content, pixel_format=module.TJPF_RGB))


def _torchvision() -> Decoder:
    torch = importlib.import_module("torch")
    module = importlib.import_module("torchvision.io")

    def decoder(content: bytes) -> UInt8[np.ndarray, "h w 3"]:
        encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return np.asarray(module.decode_jpeg(encoded).permute(1, 2, 0).numpy())

    return decoder
