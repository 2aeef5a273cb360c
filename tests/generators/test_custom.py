"""Generators that users write: called as documented, checked, and refused with a reason."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.worlds import Halves
from torch import nn

import unseen
from unseen.core.errors import GeneratorError, OutOfMemoryError, SpecError
from unseen.generators import Generator, load_generator, load_layered
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.layered import NetworkGenerator
from unseen.generators.sample import Sampling, sample
from unseen.generators.sources import Drawing

MODULE = """
import torch
import unseen

def draw(latents):
    return latents[:, :1, None, None].clamp(-1, 1).expand(-1, 3, 8, 8)

def plain():
    return unseen.FunctionGenerator(draw, latent_size=2, resolution=8)

def plain_of(file):
    return plain()

def scaled(device, precision, scale="1"):
    return unseen.FunctionGenerator(
        lambda latents: float(scale) * draw(latents), latent_size=2, resolution=8,
        provenance={"scale": scale, "precision": precision}, device=device,
    )

def nothing():
    return 3

def needs():
    return 4
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"generator_of_{abs(hash(tmp_path))}"  # a new module for every test
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("import no_such_package_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_function_is_a_generator_with_the_papers_latents(module: str) -> None:
    generator = load_generator(f"python:{module}:plain")
    assert isinstance(generator, Generator)
    latents = generator.latents([0, 3], seed=1)
    images = generator(latents)
    assert images.shape == (2, 3, 8, 8)
    torch.testing.assert_close(images[1, 2, 4, 5], latents[1, 0].clamp(-1, 1))
    assert generator.provenance["spec"] == f"python:{module}:plain"
    assert generator.provenance["module_sha256"].keys() == {f"{module}.py"}


def test_options_and_precision_reach_a_factory_that_takes_them(module: str) -> None:
    generator = load_generator(f"python:{module}:scaled?scale=0.5", precision="bf16")
    latents = generator.latents(range(3))
    torch.testing.assert_close(generator(latents)[:, 0, 0, 0], 0.5 * latents[:, 0].clamp(-1, 1))
    assert generator.provenance["scale"] == "0.5"
    assert generator.provenance["precision"] == "bf16"


@pytest.mark.parametrize(
    ("suffix", "error", "message"),
    [
        (":nothing", GeneratorError, "int, which lacks provenance, draw"),
        (":missing", SpecError, "has no function 'missing'"),
        (":plain?scale=2", SpecError, "has the option 'scale', which plain does not take"),
        ("_broken:plain", GeneratorError, "needs 'no_such_package_anywhere', which is missing"),
        ("_absent:plain", SpecError, "no module"),
        ("", SpecError, "names no factory"),
    ],
)
def test_what_is_no_generator_is_refused(
    module: str, suffix: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_generator(f"python:{module}{suffix}")


def test_a_precision_that_the_factory_does_not_take_is_refused(module: str) -> None:
    with pytest.raises(GeneratorError, match="takes no precision, and bf16 was asked for"):
        load_generator(f"python:{module}:plain", precision="bf16")


@pytest.mark.parametrize(
    ("images", "value"),
    [
        (torch.zeros(2, 3, 8, 4), "(2, 3, 8, 4)"),
        (torch.zeros(2, 2, 8, 8), "(2, 2, 8, 8)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "torch.uint8"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.complex64), "torch.complex64"),
        ([0.0], "list"),
        (torch.full((2, 3, 8, 8), torch.nan), "not finite"),
        (torch.linspace(0, 255, 384).reshape(2, 3, 8, 8), "0 to 255"),
        (torch.linspace(-1.6, 1, 384).reshape(2, 3, 8, 8), "-1.6 to 1"),
    ],
)
def test_images_that_are_none_are_refused(images: object, value: str) -> None:
    generator = unseen.FunctionGenerator(lambda latents: images, latent_size=2, resolution=8)
    with pytest.raises(GeneratorError, match=re.escape(value)):
        generator(generator.latents([0, 1]))


def test_a_few_values_a_little_outside_are_clamped_and_grey_is_three_equal_channels() -> None:
    grey = torch.linspace(-1.2, 1, 128).reshape(2, 1, 8, 8)
    grey[0, 0, 0, 0] = -1.7  # less than 1 % of the values
    generator = unseen.FunctionGenerator(lambda latents: grey, latent_size=2, resolution=8)
    images = generator(generator.latents([0, 1]))
    torch.testing.assert_close(images, grey.clamp(-1, 1).expand(-1, 3, -1, -1))


class Duck:
    """A generator of a user's own class, with gradients on, that returns what it is told."""

    provenance = {"weights_sha256": "x"}  # noqa: RUF012

    def __init__(self, images: Callable[[int], torch.Tensor]) -> None:
        self.images = images

    def draw(self, indices: Sequence[int], *, seed: int = 1) -> torch.Tensor:
        return self.images(len(indices)) + torch.zeros(1, requires_grad=True)


@pytest.mark.parametrize(
    ("images", "value"),
    [
        (lambda n: torch.full((n, 3, 8, 8), 128.0), "128"),
        (lambda n: torch.zeros(n, 4, 8, 8), r"\(32, 4, 8, 8\)"),
        (lambda n: torch.zeros(n, 3, 8, 8) / 0, "not finite"),
    ],
)
def test_what_a_class_of_ones_own_draws_is_checked(
    images: Callable[[int], torch.Tensor], value: str
) -> None:
    with pytest.raises(GeneratorError, match=value):
        DrawnImages(Duck(images)).read(0)


def test_gradients_do_not_matter_and_grey_is_drawn() -> None:
    drawn = DrawnImages(Duck(lambda n: torch.full((n, 1, 8, 8), -1.0)))
    assert drawn.read(3).tolist() == np.zeros((3, 8, 8), np.uint8).tolist()


def _exits(count: int) -> torch.Tensor:
    raise SystemExit(0)


def _fails(count: int) -> torch.Tensor:
    raise KeyError("no weights\nand a second line")


@pytest.mark.parametrize(("images", "value"), [(_exits, "exit"), (_fails, "no weights")])
def test_what_a_users_code_raises_is_one_line(
    images: Callable[[int], torch.Tensor], value: str
) -> None:
    function = unseen.FunctionGenerator(
        lambda latents: images(len(latents)), latent_size=2, resolution=8
    )
    for call in (lambda: DrawnImages(Duck(images)).read(0), lambda: function(torch.zeros(1, 2))):
        with pytest.raises(GeneratorError, match=value) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_memory_that_runs_out_is_no_fault_of_the_generator() -> None:
    def images(count: int) -> torch.Tensor:
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(OutOfMemoryError, match="batch-size"):
        DrawnImages(Duck(images)).read(0)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("provenance", {"weights": object()}),
        ("provenance", ["list"]),
        ("resolution", 8.0),
        ("resolution", 0),
        ("resolution", 2**20),
    ],
)
def test_members_of_another_form_are_refused(member: str, value: object) -> None:
    duck = Duck(lambda n: torch.zeros(n, 3, 8, 8))
    setattr(duck, member, value)
    with pytest.raises(GeneratorError, match="Duck"):
        DrawnImages(duck)


def test_files_that_options_name_are_in_the_provenance(module: str, tmp_path: Path) -> None:
    spec = f"python:{module}:plain_of?file=w.bin"
    hashes = []
    for content in (b"1", b"2"):
        (tmp_path / "w.bin").write_bytes(content)
        hashes.append(load_generator(spec).provenance["file_sha256"]["file"])
    assert len(hashes[0]) == 64
    assert hashes[0] != hashes[1]


def test_the_tail_of_a_grey_network_of_ones_own_draws_three_channels() -> None:
    network = nn.Sequential(
        nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8))), nn.Sequential(nn.Tanh())
    )
    generator = NetworkGenerator(network, latent_size=2, resolution=8, provenance={})
    latents = generator.latents([0, 1])
    head, tail = generator.split("0")
    torch.testing.assert_close(tail(head(latents)), generator(latents))
    assert generator(latents).shape == (2, 3, 8, 8)


def test_images_without_a_value_below_0_are_warned_of_once() -> None:
    drawn = DrawnImages(Duck(lambda n: torch.linspace(0, 1, n * 192).reshape(n, 3, 8, 8)))
    with pytest.warns(UserWarning, match="0, 1") as caught:
        list(drawn.images(range(70)))
    assert len(caught) == 1


def test_what_draws_by_index_alone_is_drawn_and_cannot_be_split(tmp_path: Path) -> None:
    """Image k is grey by k and the seed, and twice as wide as high."""

    class Greys:
        provenance = {"spec": "greys"}  # noqa: RUF012

        def draw(self, indices: Sequence[int], *, seed: int = 1) -> torch.Tensor:
            levels = torch.tensor([(index + 10 * seed) / 127.5 - 1 for index in indices])
            return levels[:, None, None, None].expand(-1, 3, 4, 8)

    drawn = Drawing(sample_seed=2).open(Greys())
    assert drawn.read(5).shape == (3, 4, 8)
    assert drawn.read(5).max() == 25
    folder = sample(Sampling(generator=Greys(), out=tmp_path / "drawn", indices=[0, 90]))
    assert sorted(path.name for path in folder.glob("*.png")) == ["00000000.png", "00000090.png"]
    areas = unseen.segment(Greys(), Halves(), count=130)
    assert areas.pixels[:, 1].sum() == 64 * 64 * 12  # 118 to 129 are lighter than half
    for generator, name in (
        (Greys(), "greys"),
        (unseen.FunctionGenerator(lambda z: z, latent_size=2, resolution=8), "FunctionGenerator"),
    ):
        with pytest.raises(GeneratorError, match=name):
            load_layered(generator)


def documented(first_line: str) -> str:
    """The example of docs/generators.md that begins with this line."""
    page = (Path(__file__).parents[2] / "docs" / "generators.md").read_text(encoding="utf-8")
    (code,) = [
        code
        for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        if code.startswith(first_line)
    ]
    return str(code)


# PyTorch would rather have torch.export; TorchScript files are still what people have
@pytest.mark.filterwarnings("ignore:.torch.jit.* is deprecated:DeprecationWarning")
def test_the_documented_torchscript_file_is_drawn_and_segmented(module: str) -> None:
    """The example as the page has it, on a traced network of the sizes that it names."""
    network = nn.Sequential(
        nn.Linear(128, 48), nn.Unflatten(1, (3, 4, 4)), nn.Upsample(scale_factor=16), nn.Tanh()
    )
    torch.jit.trace(network, torch.zeros(1, 128)).save("generator.pt")
    Path(f"{module}_traced.py").write_text(documented("import torch, unseen\n\n\ndef make(device"))
    spec = f"python:{module}_traced:make"
    generator = load_generator(spec)
    latents = generator.latents(range(5))
    with torch.no_grad():
        torch.testing.assert_close(generator(latents), network(latents))
    other = Path("other.pt")
    torch.jit.trace(network, torch.zeros(1, 128)).save(other)
    assert load_generator(f"{spec}?file=other.pt").resolution == 64
    areas = unseen.segment(spec, Halves(), count=5)
    assert areas.names[4] == "00000004.png"
    expected = (generator(latents).mean(dim=1) > 0).sum(dim=(1, 2))
    np.testing.assert_allclose(areas.pixels[:, 1], expected, atol=40)  # of 4096: rounding to 8 bits


def test_a_factory_gets_a_device_that_exists_where_auto_was_asked_for(module: str) -> None:
    generator = load_generator(f"python:{module}:scaled", device="auto")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert generator.latents([0]).device.type == expected
    assert getattr(generator, "device", None) == expected
    with pytest.raises(SpecError, match="device 'tpu' is not known"):
        load_generator(f"python:{module}:scaled", device="tpu")


@pytest.mark.real
def test_a_generator_from_the_package_index_draws_as_it_does_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(
        "gan_face_generate", reason="pip install --no-deps gan-face-generate==1.1.1"
    )
    from gan_face_generate.models import Generator as Theirs

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs" / "examples"))
    generator = load_generator("python:faces:make")
    latents = generator.latents(range(8), seed=1)
    images = generator(latents)
    theirs = Theirs(1, 3, 100, 64).eval()
    file = Path(__import__("gan_face_generate").__file__).parent / "weights.tar"
    theirs.load_state_dict(
        torch.load(file, map_location="cpu", weights_only=True)["netG_state_dict"]
    )
    with torch.no_grad():
        torch.testing.assert_close(images, theirs(latents[:, :, None, None]))
    head, tail = generator.split("2")
    assert head(latents).shape == (8, 128, 16, 16)
    torch.testing.assert_close(tail(head(latents)), images)
    side = Drawing().open("python:faces:make")
    assert isinstance(side, DrawnImages)
    assert np.abs(side.read(7) - 127.5 * (images[7].numpy() + 1)).max() <= 0.51  # rounded to 8 bits
    # Faces on backgrounds of every brightness: a broken network draws one grey
    assert images.mean(dim=(1, 2, 3)).std() > 0.05
    assert images.std(dim=(2, 3)).mean() > 0.1
