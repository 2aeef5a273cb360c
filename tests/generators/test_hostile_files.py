"""Any file of weights gives a generator or one line, and takes no memory that it does not hold."""

import dataclasses
import math
import pickle
import random
import re
import resource
import struct
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.generators import test_stylegan, test_stylegan2, test_stylegan3

from unseen.core.errors import CheckpointError, UnseenError
from unseen.generators import Generator, load_generator
from unseen.generators.ablations import Ablation
from unseen.generators.progan import ProGAN
from unseen.weights import open_checkpoint

PROGAN = {name: tensor.clone() for name, tensor in ProGAN([3, 4, 2]).state_dict().items()}
LEGACY: dict[str, Any] = {"_use_new_zipfile_serialization": False}


def attempt(spec: str) -> Generator | None:
    """The generator, or None where it was refused in one printable line."""
    try:
        return load_generator(spec)
    except UnseenError as error:
        message = str(error)
    assert message.isprintable(), ascii(message)
    assert len(message) < 1500
    return None


@dataclasses.dataclass
class Files:
    """A sound file for every door."""

    folder: Path
    write_network: Callable[..., Path]
    write_tensorflow: Callable[..., Path]

    def make(self, door: str) -> Path:
        path = self.folder / door.partition(":")[2]
        ablation = Ablation("batch-norm", widths=(3, 4, 2)).state_dict()
        network = test_stylegan2.toy()
        if path.name == "safetensors":
            save_file(PROGAN, path)
        elif path.name == "zip":
            torch.save({"g_ema": PROGAN, "epoch": 3}, path)
        elif path.name == "legacy":
            torch.save(PROGAN, path, **LEGACY)
        elif path.name == "ablation":
            torch.save(
                {
                    re.sub(
                        r"layer(\d+)", lambda match: f"features.{int(match[1]) - 1}", name
                    ): value
                    for name, value in ablation.items()
                },
                path,
            )
        elif path.name == "npz":
            with path.open("wb") as file:
                np.savez(file, **test_stylegan.variables(2))  # type: ignore[arg-type]
        elif path.name == "tensorflow":
            return self.write_tensorflow(test_stylegan.variables(2), {"mapping_lrmul": 0.01})
        elif door.startswith("stylegan3"):
            third = test_stylegan3.toy()
            return self.write_network(
                test_stylegan3.nvidia_state(third), test_stylegan3.nvidia_settings(third)
            )
        else:
            return self.write_network(
                test_stylegan2.nvidia_state(network), test_stylegan2.nvidia_settings(network)
            )
        return path


DOORS = (
    *("progan:safetensors", "progan:zip", "progan:legacy", "ablation:ablation"),
    *("stylegan:npz", "stylegan:tensorflow", "stylegan2:pickle", "stylegan3:pickle"),
)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with some bytes changed, cut out, doubled, or cut short."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        where = chance.randrange(max(1, min(len(changed), chance.choice([64, 600, 10**9]))))
        kind = chance.randrange(5)
        if kind == 0:
            changed[where : where + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            changed[where : where + 4] = struct.pack("<i", chance.choice([-1, 0, 2**31 - 1, 255]))
        elif kind == 2:
            del changed[where : where + chance.randint(1, 8)]
        elif kind == 3:
            changed[where:where] = changed[where : where + chance.randint(1, 40)]
        else:
            changed[where : where + 1] = bytes([changed[where] ^ (1 << chance.randrange(8))])
    return bytes(changed[: chance.randint(1, len(changed))] if chance.random() < 0.2 else changed)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_any_damage_gives_a_generator_or_one_line(
    door: str, count: int, tmp_path: Path, write_network: Any, write_tensorflow: Any
) -> None:
    content = Files(tmp_path, write_network, write_tensorflow).make(door).read_bytes()
    path = tmp_path / "damaged"
    family = door.partition(":")[0]
    chance = random.Random(door)
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(count):
            path.write_bytes(mutated(content, chance))
            refused += attempt(f"{family}:{path}") is None
    assert refused > count / 10  # so that the damage is some


@pytest.mark.parametrize("door", DOORS)
def test_the_sound_files_are_read(
    door: str, tmp_path: Path, write_network: Any, write_tensorflow: Any
) -> None:
    path = Files(tmp_path, write_network, write_tensorflow).make(door)
    assert load_generator(f"{door.partition(':')[0]}:{path}").resolution >= 8


WRONG = {"none": None, "text": "x", "list": [1], "dict": {"a": 1}, "nan": math.nan, "-1": -1}


@pytest.mark.parametrize("value", [*WRONG.values(), 10**400], ids=[*WRONG, "huge"])
def test_settings_of_any_value_give_a_generator_or_one_line(
    value: Any, tmp_path: Path, write_network: Any, write_tensorflow: Any
) -> None:
    second, third = test_stylegan2.toy(), test_stylegan3.toy()
    for family, module, network in (
        ("stylegan2", test_stylegan2, second),
        ("stylegan3", test_stylegan3, third),
    ):
        settings: dict[str, dict[str, Any]] = module.nvidia_settings(network)  # type: ignore[attr-defined]
        state = module.nvidia_state(network)  # type: ignore[attr-defined]
        places = {name: place for place, own in settings.items() for name in own}
        for name, place in places.items():  # the last that has it
            wrong = settings | {place: settings[place] | {name: value}}
            attempt(f"{family}:{write_network(state, wrong)}")
    for name in ("mapping_lrmul", "fused_scale", "blur_filter", "nonlinearity", "use_wscale"):
        path = write_tensorflow(test_stylegan.variables(2), {name: value})
        attempt(f"stylegan:{path}")


def encoded(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


AMPLIFIED = {
    "a text encoded again and again": b"\x80\x02c_codecs\nencode\nq\x03"
    + encoded("x" * 140_000)
    + b"q\x02]("
    + (b"h\x03h\x02" + encoded("latin1") + b"\x86R") * 40_000
    + b"e.",
    "a dictionary copied again and again": b"\x80\x02ccollections\nOrderedDict\nq\x030]("
    + b"".join(b"M" + struct.pack("<H", key) + b"K\x02\x86" for key in range(20_000))
    + b"eq\x04]("
    + (b"h\x03h\x04\x85R") * 100_000
    + b"e.",
    "lists of lists of lists": b"\x80\x02}"
    + encoded("model")
    + b"]q\x10(K\x01K\x02e"
    + b"".join(
        b"]q" + bytes([17 + n]) + b"(" + (b"h" + bytes([16 + n])) * 10 + b"e" for n in range(60)
    )
    + b"s.",
    "one list inside another": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
}


@pytest.mark.parametrize("attack", AMPLIFIED)
def test_a_small_pickle_takes_little_memory_and_time(attack: str, tmp_path: Path) -> None:
    path = tmp_path / "small.pkl"
    path.write_bytes(AMPLIFIED[attack])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    assert attempt(f"stylegan2:{path}") is None
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400_000  # kilobytes; 2 million small objects at most
    assert time.monotonic() - start < 30


SPECIAL: dict[str, Callable[[], torch.Tensor]] = {
    "float8": lambda: torch.zeros(3, 4, 4, 4).to(torch.float8_e4m3fn),
    "meta": lambda: torch.zeros(4, 3, 4, 4, device="meta"),
    "sparse": lambda: torch.zeros(4, 3).to_sparse(),
    "complex": lambda: torch.zeros(4, 3, 4, 4, dtype=torch.complex64),
    "unsigned": lambda: torch.zeros(4, 3, 4, 4, dtype=torch.uint16),
    "integers": lambda: torch.zeros(4, 3, 4, 4, dtype=torch.int64),
    "without width": lambda: torch.zeros(4, 0, 4, 4),
    "without axes": lambda: torch.zeros(()),
    "one number shown as many": lambda: torch.zeros(1).expand(1000, 1000, 4, 4),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("legacy", [{}, LEGACY])
def test_tensors_that_are_no_plain_weights_are_refused(
    kind: str, legacy: dict[str, Any], tmp_path: Path
) -> None:
    state = PROGAN | {"layer1.conv.weight": SPECIAL[kind]()}
    try:
        torch.save(state, tmp_path / "w.pt", **legacy)
    except (RuntimeError, AttributeError, pickle.PicklingError):
        pytest.skip("torch does not write it so")
    assert attempt(f"progan:{tmp_path / 'w.pt'}") is None


@pytest.mark.parametrize("kind", ["float8", "integers", "without width"])
def test_safetensors_of_no_plain_weights_are_refused(kind: str, tmp_path: Path) -> None:
    save_file(PROGAN | {"layer1.conv.weight": SPECIAL[kind]()}, tmp_path / "w.safetensors")
    assert attempt(f"progan:{tmp_path / 'w.safetensors'}") is None


def test_a_network_of_huge_images_is_refused_before_it_is_built(tmp_path: Path) -> None:
    torch.save(ProGAN([1] * 17).state_dict(), tmp_path / "w.pt")  # 22 KB
    with pytest.raises(CheckpointError, match="131072"):
        load_generator(f"progan:{tmp_path / 'w.pt'}")


def test_all_faults_are_in_one_message(tmp_path: Path) -> None:
    state = PROGAN | {"layer2.conv.weight": torch.zeros(4, 5, 3, 3), "extra": torch.zeros(1)}
    del state["layer3.wscale.b"]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError) as caught:
        load_generator(f"progan:{tmp_path / 'w.pt'}")
    for fault in ("layer3.wscale.b", "layer2.conv.weight", "(4, 5, 3, 3)", "extra"):
        assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("place", "nest"),
    [
        ("", lambda s: s),
        ("g_ema", lambda s: {"g": {k: v + 1 for k, v in s.items()}, "g_ema": s, "d": s}),
        ("state_dict", lambda s: {"state_dict": s, "optimizer": {"state": {0: {"m": s}}}}),
        ("state_dict.generator", lambda s: {"state_dict": _prefixed("generator.", s, d=True)}),
        ("model._orig_mod.module", lambda s: {"model": _prefixed("_orig_mod.module.", s)}),
        ("module", lambda s: _prefixed("module.", s)),
        ("G_ema", lambda s: _prefixed("G_ema.", s, d=True)),
        ("whatever", lambda s: {"epoch": 3, "whatever": s}),
        ("generator.ema", lambda s: {"generator": {"ema": s, "raw": {}}, "args": [1]}),
    ],
)
def test_nested_weights_are_found_and_the_record_says_where(
    place: str, nest: Callable[[dict[str, torch.Tensor]], Any], tmp_path: Path
) -> None:
    torch.save(nest(PROGAN), tmp_path / "w")
    generator = load_generator(f"progan:{tmp_path / 'w'}")
    assert generator.provenance.get("weights_at", "") == place
    torch.testing.assert_close(
        dict(open_checkpoint(tmp_path / "w").tensors), PROGAN, rtol=0, atol=0
    )


def _prefixed(
    prefix: str, state: dict[str, torch.Tensor], *, d: bool = False
) -> dict[str, torch.Tensor]:
    others = {f"discriminator.{name}": tensor for name, tensor in state.items()} if d else {}
    return others | {f"{prefix}{name}": tensor for name, tensor in state.items()}


def test_two_networks_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    torch.save({"first": PROGAN, "second": PROGAN}, tmp_path / "w")
    with pytest.raises(CheckpointError, match="first"):
        open_checkpoint(tmp_path / "w")


@pytest.mark.parametrize(
    ("start", "value"),
    [
        (b"\x08\x07\x12\x07pytorch", "ONNX"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x1f\x8b", "gzip"),
    ],
)
def test_files_of_another_kind_are_named(start: bytes, value: str, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(start + bytes(100))
    with pytest.raises(CheckpointError, match=value):
        open_checkpoint(tmp_path / "w.pth")


def test_a_torchscript_file_is_named(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="TorchScript"):
        open_checkpoint(tmp_path / "w.pt")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(PROGAN, tmp_path / "w.pt")
    assert open_checkpoint("~/w.pt").source == "w.pt"
    assert load_generator("progan:~/w.pt").resolution == 8


@pytest.mark.parametrize("family", ["progan", "stylegan2"])
def test_grey_networks_draw_three_equal_channels(
    family: str, tmp_path: Path, write_network: Any
) -> None:
    path = tmp_path / "w.pt"
    if family == "progan":
        torch.save(ProGAN([3, 4, 2], channels=1).state_dict(), path)
    else:
        network = test_stylegan2.toy(channels=1)
        path = write_network(test_stylegan2.nvidia_state(network))
    generator = load_generator(f"{family}:{path}")
    images = generator(generator.latents(range(2)))
    assert images.shape[1] == 3
    assert torch.equal(images[:, 0], images[:, 2])
    head, tail = generator.split(generator.layer_names[0])
    torch.testing.assert_close(tail(head(generator.latents(range(2)))).clamp(-1, 1), images)
