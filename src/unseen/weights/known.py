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
_UNSTATED = "not stated"
_PAPER = "Bau et al., Seeing What a GAN Cannot Generate, ICCV 2019"
_PROGAN = "Karras et al., ICLR 2018"

_FAMILIES = {  # beginning of the names → folder, licence, source, beginning of what it is
    "upp/": (
        f"{_NETDISSECT}/data/segmodel/upp-resnet50-upernet",
        f"{_UNSTATED} (the authors' code: BSD-3-Clause)",
        "Xiao et al., Unified Perceptual Parsing, ECCV 2018",
        "Unified Perceptual Parsing, ResNet-50 UPerNet: ",
    ),
    "progan-": (
        f"{_GANDISSECT}/models",
        "CC BY-NC 4.0 (NVIDIA's networks, converted)",
        f"{_PROGAN}; converted by Bau et al., ICLR 2019",
        "Progressive GAN, ",
    ),
    "ablation-": (
        f"{_GANDISSECT}/models/ablations",
        f"{_UNSTATED} (NVIDIA's networks: CC BY-NC 4.0)",
        f"{_PROGAN}, section 6.1; converted for the ICCV 2019 paper",
        "Progressive GAN ablation at 128×128: ",
    ),
    "inverter-": (f"{_GANDISSECT}/models/encoders", _UNSTATED, _PAPER, "layer-wise inverter of "),
    "tally-": (f"{_GANDISSECT}/datasets/seeing", _UNSTATED, _PAPER, "areas of 336 classes in "),
}
_FILES = (  # family, name, file, the rest of what it is
    ("upp/", "encoder_epoch_40.pth", "encoder_epoch_40.pth", "encoder"),
    ("upp/", "decoder_epoch_40.pth", "decoder_epoch_40.pth", "decoder"),
    ("upp/", "labels.json", "labels.json", "class names"),
    ("progan-", "bedroom", "proggan_bedroom-d8a89ff1.pth", "LSUN bedroom, 256×256"),
    ("progan-", "church", "proggan_churchoutdoor-7e701dd5.pth", "LSUN church outdoor, 256×256"),
    ("progan-", "conferenceroom", "proggan_conferenceroom-21e85882.pth", "LSUN conference room"),
    ("progan-", "diningroom", "proggan_diningroom-3aa0ab80.pth", "LSUN dining room, 256×256"),
    ("progan-", "kitchen", "proggan_kitchen-67f1e16c.pth", "LSUN kitchen, 256×256"),
    ("progan-", "livingroom", "proggan_livingroom-5ef336dd.pth", "LSUN living room, 256×256"),
    ("progan-", "restaurant", "proggan_restaurant-b8578299.pth", "LSUN restaurant, 256×256"),
    ("progan-", "celebahq", "proggan_celebhq-620d161c.pth", "CelebA-HQ"),
    *(
        ("ablation-", name, f"{name}-{digits}.pth", name.replace("-", " "))
        for name, digits in (
            ("wgangp", "beaa509a"),
            ("small-minibatch", "04143d18"),
            ("progressive-training", "70bd90ac"),
            ("minibatch-stddev", "068bc667"),
            ("minibatch-discrimination", "604c5731"),
            ("equalized-learning-rate", "88ed833d"),
            ("pixelwise-normalization", "4da7e9ce"),
        )
    ),
    ("inverter-", "church", "church_invert_hybrid_cse-43e52428.pth", "progan-church"),
    ("inverter-", "bedroom", "bedroom_invert_hybrid_cse-b943528e.pth", "progan-bedroom"),
    *(
        (
            "tally-",
            name,
            f"datasets_lsun_{scene}_train_segtally_10000.npy",
            f"10,000 LSUN {name} training images, fractions",
        )
        for name, scene in (("church", "church_outdoor"), ("bedroom", "bedroom"))
    ),
)


def _published(family: str, name: str, file: str, about: str) -> Published:
    folder, licence, source, beginning = _FAMILIES[family]
    digits = file.rpartition(".")[0].rpartition("-")[2]
    return Published(
        name=f"{family}{name}",
        url=f"{folder}/{file}",
        about=f"{beginning}{about}",
        licence=licence,
        source=source,
        sha256=digits if len(digits) == 8 and "-" in file else None,
    )


_OTHERS = (
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

KNOWN: dict[str, Published] = {
    entry.name: entry for entry in (*(_published(*row) for row in _FILES), *_OTHERS)
}
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
