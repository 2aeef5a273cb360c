"""Files of inverters: written and read again, refused for the wrong generator; the release's."""

import contextlib
import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from safetensors import safe_open
from safetensors.torch import save_file
from tests.support.networks import dcgan, progan

from unseen.core.errors import CheckpointError, SpecError
from unseen.core.files import sha256_of_file
from unseen.core.registry import parse_spec
from unseen.generators import Generator
from unseen.generators.layered import NetworkGenerator
from unseen.inversion.ganseeing import load_ganseeing
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_file import load_inverter, round_to_half, write_inverter
from unseen.inversion.inverter_networks import Architecture
from unseen.inversion.layers import split_generator
from unseen.weights import KNOWN


def inverter_of(generator: Generator, cut: str, architecture: Architecture) -> Inverter:
    split = split_generator(generator, cut)
    about = {
        "generator": dict(generator.provenance),
        "generator_tensors_sha256": split.weights_sha256,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Inverter(split.shapes, architecture, about).eval()


SMALL = Architecture(width=4)
RELEASED = Architecture(family="iccv2019", width=8)  # a ResNet-18's is 64


@pytest.mark.parametrize(
    ("generator", "cut"), [(progan(), "layer4"), (progan(), "layer1"), (dcgan(), "1")]
)
@pytest.mark.parametrize("architecture", [SMALL, RELEASED])
def test_what_is_written_is_read_again(
    tmp_path: Path, generator: NetworkGenerator, cut: str, architecture: Architecture
) -> None:
    inverter = inverter_of(generator, cut, architecture)
    write_inverter(inverter, tmp_path / "e.safetensors")
    before = torch.get_rng_state()
    again = load_inverter(tmp_path / "e.safetensors", generator)
    assert torch.equal(before, torch.get_rng_state())  # no fresh weights were drawn
    images = generator(generator.latents(range(2)))
    with torch.no_grad():
        assert torch.equal(again(images), inverter(images))
    sha256 = sha256_of_file(tmp_path / "e.safetensors")
    assert again.provenance == {**inverter.provenance, "weights_sha256": sha256}
    write_inverter(again, tmp_path / "again.safetensors")
    assert sha256_of_file(tmp_path / "again.safetensors") == sha256
    assert not again.training


def test_half_the_size_reads_as_the_rounded_weights(tmp_path: Path) -> None:
    generator = progan()
    inverter = inverter_of(generator, "layer4", SMALL)
    write_inverter(inverter, tmp_path / "whole.safetensors")
    round_to_half(inverter)
    write_inverter(inverter, tmp_path / "half.safetensors", half=True)
    whole, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half"))
    assert half < 0.75 * whole  # of so small a network the header is a good part
    again = load_inverter(tmp_path / "half.safetensors", generator)
    images = generator(generator.latents(range(2)))
    with torch.no_grad():
        assert torch.equal(again(images), inverter(images))


def test_the_file_says_what_it_belongs_to(tmp_path: Path) -> None:
    write_inverter(inverter_of(progan(), "layer2", SMALL), tmp_path / "e.safetensors")
    with safe_open(tmp_path / "e.safetensors", framework="pt") as file:
        about = json.loads(file.metadata()["unseen_inverter"])
    assert about["shapes"]["layer_names"] == ["layer1", "layer2"]
    assert about["shapes"]["features"] == [[8, 4, 4], [8, 4, 4]]
    assert about["provenance"]["generator"]["spec"] == "progan:toy-0"
    assert about["schema_version"] == 1


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (progan(seed=1), r"another generator of the same shapes \(progan:toy-0; weights"),
        (progan(widths=(8, 8, 6, 8)), r"its shape of layer3 is \(8, 8, 8\), this one's \(6, 8, 8"),
        (progan(widths=(4, 8, 8, 8)), "its latent size is 8, this one's 4"),
        (progan(widths=(8,) * 5), "its resolution is 16, this one's 32"),
        (dcgan(), "up to layer 'layer4', which the generator has not"),
    ],
)
def test_the_wrong_generator_is_refused(
    tmp_path: Path, generator: NetworkGenerator, message: str
) -> None:
    write_inverter(inverter_of(progan(), "layer4", SMALL), tmp_path / "e.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_inverter(str(tmp_path / "e.safetensors"), generator)


def test_files_that_are_no_inverters_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(1)}, other)
    with pytest.raises(CheckpointError, match=r"other\.safetensors"):
        load_inverter(other, progan())
    other.write_bytes(b"broken")
    with pytest.raises(CheckpointError, match=r"other\.safetensors"):
        load_inverter(other, progan())
    with pytest.raises(CheckpointError, match=r"none\.safetensors"):
        load_inverter(tmp_path / "none.safetensors", progan())
    save_file({"a": torch.zeros(1)}, other, {"unseen_inverter": '{"schema_version": 9}'})
    with pytest.raises(CheckpointError, match="schema version 9"):
        load_inverter(other, progan())
    with pytest.raises(SpecError, match="is no spec"):
        load_inverter("no/such/file.pth", progan())


def test_a_tensor_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    inverter = inverter_of(progan(), "layer1", SMALL)
    with torch.no_grad():
        inverter.get_parameter("layers.0.conv2.bias")[0] = torch.nan
    write_inverter(inverter, tmp_path / "e.safetensors")
    with pytest.raises(CheckpointError, match=r"layers\.0\.conv2\.bias"):
        load_inverter(tmp_path / "e.safetensors", progan())


def released(inverter: Inverter, prefix: str) -> dict[str, torch.Tensor]:
    """The release's layout of an inverter's tensors, as its files' names are documented."""
    state = {}
    for name, value in inverter.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "layers":
            number, _, rest = rest.partition(".")
            part = f"inv{int(number) + 1}"
        state[f"{prefix}{'resnet' if part == 'tail' else part}.{rest}"] = value
    return state


@pytest.mark.parametrize("prefix", ["", "model."])
def test_the_authors_layout_is_loaded(tmp_path: Path, prefix: str) -> None:
    generator = progan()
    inverter = inverter_of(generator, "layer4", RELEASED)
    state = released(inverter, prefix)
    assert f"{prefix}resnet.layer5.conv5.weight" in state
    assert f"{prefix}inv1.conv2.bias" in state
    path = tmp_path / "church.pth"
    torch.save({"state_dict": state, "epoch": 3, "lr": 1e-5}, path)
    spec = parse_spec(f"ganseeing:{path}")
    loaded = load_ganseeing(spec, generator).eval()
    images = generator(generator.latents(range(2)))
    with torch.no_grad():
        assert torch.equal(loaded(images), inverter(images))
    assert loaded.layer_names == generator.layer_names[:4]
    assert loaded.provenance["preset"] == "ganseeing"


def test_counts_of_batches_may_be_missing_from_an_old_file(tmp_path: Path) -> None:
    inverter = inverter_of(progan(), "layer2", RELEASED)
    state = released(inverter, "")
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    torch.save(old, tmp_path / "old.pth")
    loaded = load_ganseeing(parse_spec(f"ganseeing:{tmp_path / 'old.pth'}"), progan())
    assert torch.equal(loaded.state_dict()["layers.0.bn1.num_batches_tracked"], torch.tensor(0))


def test_a_released_file_that_does_not_fit_names_its_first_tensors(tmp_path: Path) -> None:
    state = released(inverter_of(progan(), "layer4", RELEASED), "model.")
    torch.save(state, tmp_path / "church.pth")
    spec = parse_spec(f"ganseeing:{tmp_path / 'church.pth'}")
    with pytest.raises(
        CheckpointError,
        match=r"resnet\.layer5\.conv5\.weight of shape \(8, 64, 1, 1\).*\(6, 64, 1, 1\)",
    ):
        load_ganseeing(spec, progan(widths=(8, 8, 6, 8)))
    with pytest.raises(CheckpointError, match="inverts 4 layers and a tail; the generator has 3"):
        load_ganseeing(spec, dcgan())
    state["model.inv4.conv9.weight"] = torch.zeros(1)
    del state["model.inv2.conv1.bias"]
    torch.save(state, tmp_path / "church.pth")
    with pytest.raises(
        CheckpointError, match=r"lacks inv2\.conv1\.bias.*also holds inv4\.conv9\.weight"
    ):
        load_ganseeing(spec, progan())
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "church.pth")
    with pytest.raises(CheckpointError, match=r"found conv\.weight; needed are resnet"):
        load_ganseeing(spec, progan())
    with pytest.raises(SpecError, match="neither a file nor a published name"):
        load_ganseeing(parse_spec("ganseeing:none.pth"), progan())


def test_the_published_inverters_are_known_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights" / KNOWN["inverter-church"].file
    assert file.name == "church_invert_hybrid_cse-43e52428.pth"
    file.parent.mkdir()
    torch.save(released(inverter_of(progan(), "layer4", RELEASED), ""), file)
    monkeypatch.setattr("unseen.weights.download.fetch", lambda name: file)
    loaded = load_ganseeing(parse_spec("ganseeing:church"), progan())
    assert loaded.provenance["spec"] == "ganseeing:church"


def about_of(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["unseen_inverter"])
        return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("architecture", "blocks", 10**9),
        ("architecture", "last_blocks", 10**9),
        ("architecture", "blocks", -1),
        ("architecture", "width", 2**70),
        ("architecture", "family", "other"),
        ("shapes", "resolution", 0),
        ("shapes", "resolution", 2**40),
        ("shapes", "latent_size", "8"),
        ("shapes", "features", []),
        ("shapes", "features", [[8, 4, 4], []]),
        ("shapes", "features", [[8, 4, 4], [8, 60_000, 60_000]]),
        ("shapes", "layer_names", ["layer1"] * 10**5),
        ("shapes", "scale_free", "yes"),
        ("provenance", "generator_tensors_sha256", 5),
        ("provenance", "generator", 5),
        (None, "package_version", None),
        (None, "provenance", "text"),
        (None, "schema_version", True),
    ],
)
def test_metadata_that_lies_is_one_line(tmp_path: Path, part: Any, field: str, value: Any) -> None:
    path = tmp_path / "e.safetensors"
    write_inverter(inverter_of(progan(), "layer2", SMALL), path)
    about, state = about_of(path)
    (about if part is None else about[part])[field] = value
    save_file(state, path, {"unseen_inverter": json.dumps(about)})
    if (part, field) == ("provenance", "generator"):
        load_inverter(path, progan())  # what it is called, and nothing more
        return
    with pytest.raises(CheckpointError, match=r"e\.safetensors") as raised:
        load_inverter(path, progan())
    assert "\n" not in str(raised.value)


FUZZ = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@pytest.mark.timeout(120)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_the_metadata_says_the_file_is_read_or_refused(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "e.safetensors"
    if not (tmp_path / "whole.safetensors").exists():
        write_inverter(inverter_of(progan(), "layer2", SMALL), tmp_path / "whole.safetensors")
    about, state = about_of(tmp_path / "whole.safetensors")
    part = data.draw(st.sampled_from([about, about["shapes"], about["architecture"]]))
    field = data.draw(st.sampled_from(sorted(part)))
    part[field] = data.draw(leaves | st.lists(leaves | st.lists(leaves, max_size=3), max_size=3))
    save_file(state, path, {"unseen_inverter": json.dumps(about)})
    with contextlib.suppress(CheckpointError):
        load_inverter(path, progan())


@pytest.mark.timeout(120)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_whatever_bytes_the_file_has_it_is_read_or_refused(tmp_path: Path, data: Any) -> None:
    if not (tmp_path / "whole.safetensors").exists():
        write_inverter(inverter_of(progan(), "layer1", SMALL), tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    at = data.draw(st.integers(0, 2_500))
    spoilt = (
        whole[:at] + data.draw(st.binary(max_size=8)) + whole[at + data.draw(st.integers(0, 8)) :]
    )
    (tmp_path / "e.safetensors").write_bytes(spoilt)
    with contextlib.suppress(CheckpointError):
        load_inverter(tmp_path / "e.safetensors", progan())
