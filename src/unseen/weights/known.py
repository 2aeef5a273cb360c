"""Published weights and data that unseen knows by name: where they are, whose, and their hashes.

Facts only; nothing is downloaded here. Where the publisher put eight hexadecimal digits into the
file's name, they begin its SHA-256. Where no hash is published, the first download is trusted, its
SHA-256 is recorded beside it, and every later use is checked against that.
"""

import dataclasses
from urllib.parse import urlsplit

from unseen.core.errors import DownloadError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """One published file."""

    name: str  # what `fetch` is asked for
    url: str
    about: str
    licence: str
    source: str  # who published it, and where it is described
    sha256: str | None = None  # all 64 digits, or the first eight; None: not published
    md5: str | None = None
    size: int | None = None  # bytes; None: not known

    @property
    def file(self) -> str:
        """The path below the folder of weights in the cache."""
        return self.name if "/" in self.name else self.url_file

    @property
    def url_file(self) -> str:
        """The file's name at the publisher's."""
        return urlsplit(self.url).path.rpartition("/")[2]


_GANDISSECT = "http://gandissect.csail.mit.edu"
_NETDISSECT = "http://netdissect.csail.mit.edu"
_PAPER = "Bau et al., Seeing What a GAN Cannot Generate, ICCV 2019"
_UNSTATED = "not stated"
_NVIDIA = "CC BY-NC 4.0 (NVIDIA's networks, converted)"


def _upp(file: str, about: str) -> Published:
    return Published(
        name=f"upp/{file}",
        url=f"{_NETDISSECT}/data/segmodel/upp-resnet50-upernet/{file}",
        about=f"Unified Perceptual Parsing, ResNet-50 UPerNet: {about}",
        licence=f"{_UNSTATED} (the authors' code: BSD-3-Clause)",
        source="Xiao et al., Unified Perceptual Parsing, ECCV 2018",
    )


def _progan(name: str, file: str, about: str) -> Published:
    return Published(
        name=f"progan-{name}",
        url=f"{_GANDISSECT}/models/{file}",
        about=f"Progressive GAN, {about}",
        licence=_NVIDIA,
        source="Karras et al., ICLR 2018; converted by Bau et al., ICLR 2019",
        sha256=_digits(file),
    )


def _ablation(file: str) -> Published:
    name = file.rpartition("-")[0]
    return Published(
        name=f"ablation-{name}",
        url=f"{_GANDISSECT}/models/ablations/{file}",
        about=f"Progressive GAN ablation at 128×128: {name.replace('-', ' ')}",
        licence=f"{_UNSTATED} (NVIDIA's networks: CC BY-NC 4.0)",
        source="Karras et al., ICLR 2018, section 6.1; converted for the ICCV 2019 paper",
        sha256=_digits(file),
    )


def _inverter(name: str, file: str) -> Published:
    return Published(
        name=f"inverter-{name}",
        url=f"{_GANDISSECT}/models/encoders/{file}",
        about=f"layer-wise inverter of progan-{name}",
        licence=_UNSTATED,
        source=_PAPER,
        sha256=_digits(file),
    )


def _tally(name: str, file: str) -> Published:
    return Published(
        name=f"tally-{name}",
        url=f"{_GANDISSECT}/datasets/seeing/{file}",
        about=f"areas of 336 classes in 10,000 LSUN {name} training images, fractions",
        licence=_UNSTATED,
        source=_PAPER,
    )


def _digits(file: str) -> str:
    return file.rpartition(".")[0].rpartition("-")[2]


_TABLE = (
    _upp("encoder_epoch_40.pth", "encoder"),
    _upp("decoder_epoch_40.pth", "decoder"),
    _upp("labels.json", "class names"),
    _progan("bedroom", "proggan_bedroom-d8a89ff1.pth", "LSUN bedroom, 256×256"),
    _progan("church", "proggan_churchoutdoor-7e701dd5.pth", "LSUN church outdoor, 256×256"),
    _progan("conferenceroom", "proggan_conferenceroom-21e85882.pth", "LSUN conference room"),
    _progan("diningroom", "proggan_diningroom-3aa0ab80.pth", "LSUN dining room, 256×256"),
    _progan("kitchen", "proggan_kitchen-67f1e16c.pth", "LSUN kitchen, 256×256"),
    _progan("livingroom", "proggan_livingroom-5ef336dd.pth", "LSUN living room, 256×256"),
    _progan("restaurant", "proggan_restaurant-b8578299.pth", "LSUN restaurant, 256×256"),
    _progan("celebahq", "proggan_celebhq-620d161c.pth", "CelebA-HQ"),
    _ablation("wgangp-beaa509a.pth"),
    _ablation("small-minibatch-04143d18.pth"),
    _ablation("progressive-training-70bd90ac.pth"),
    _ablation("minibatch-stddev-068bc667.pth"),
    _ablation("minibatch-discrimination-604c5731.pth"),
    _ablation("equalized-learning-rate-88ed833d.pth"),
    _ablation("pixelwise-normalization-4da7e9ce.pth"),
    _inverter("church", "church_invert_hybrid_cse-43e52428.pth"),
    _inverter("bedroom", "bedroom_invert_hybrid_cse-b943528e.pth"),
    _tally("church", "datasets_lsun_church_outdoor_train_segtally_10000.npy"),
    _tally("bedroom", "datasets_lsun_bedroom_train_segtally_10000.npy"),
    Published(
        name="minilsun",
        url=f"{_GANDISSECT}/datasets/minilsun.zip",
        about="a small sample of LSUN, as folders of images",
        licence=f"{_UNSTATED} (LSUN: research use)",
        source="Yu et al., LSUN, 2015; sampled by Bau et al.",
        md5="4bf19f711555a5771220384db4c97999",
    ),
    Published(
        name="vgg16",
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        about="VGG-16 for the feature loss of an inversion, trained on ImageNet",
        licence="BSD-3-Clause (torchvision)",
        source="Simonyan and Zisserman, ICLR 2015; trained by torchvision",
        sha256="397923af",
    ),
)

KNOWN: dict[str, Published] = {entry.name: entry for entry in _TABLE}
"""Every published file, by name."""


def published(name: str) -> Published:
    """The entry of that name.

    Raises:
        DownloadError: there is none.
    """
    try:
        return KNOWN[name]
    except KeyError as error:
        raise DownloadError(
            f"no published file is called {name!r}; known: {', '.join(KNOWN)}"
        ) from error
