"""Training of inverters: losses, what is trained when, resumption, refusals, the command."""

import dataclasses
import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.support.networks import dcgan, progan, styled
from torch.nn import functional

from unseen.cli.main import run
from unseen.core.errors import (
    GeneratorError,
    RecordError,
    SpecError,
    StorageError,
    TrainingError,
)
from unseen.core.files import sha256_of_file
from unseen.generators.custom import FunctionGenerator
from unseen.generators.layered import NetworkGenerator
from unseen.generators.progan import ProGAN
from unseen.inversion.inverter import Inverter
from unseen.inversion.inverter_file import load_inverter
from unseen.inversion.inverter_networks import Architecture
from unseen.inversion.inverter_training import (
    HELD_OUT_SEED,
    InverterTraining,
    measure_loss,
    train_inverter,
)
from unseen.inversion.layers import split_generator
from unseen.inversion.recipes import PRESETS, Budget, Recipe
from unseen.inversion.training_loop import TrainingProgress, step_seed

STEPS = Budget(steps=7, learning_rate=1e-3)  # neither a multiple of 3 nor of 5
SMALL = Architecture(width=4, blocks=1, last_blocks=1)
JOINT = Recipe(
    joint=dataclasses.replace(STEPS, average_decay=0.9, clip_norm=1.0, weight_decay=0.1),
    batch_size=4,
    architecture=SMALL,
)
EVERY_STAGE = Recipe(
    joint=STEPS,
    layers=dataclasses.replace(STEPS, steps=3),
    second_layer=dataclasses.replace(STEPS, steps=2),
    tail=STEPS,
    bottom=dataclasses.replace(STEPS, steps=2),
    batch_size=4,
    architecture=Architecture(family="iccv2019", width=4),
    estimated=("layers",),
    recovered=("z", "layers", "x"),
)


def task(folder: Path | None, recipe: Recipe = JOINT, **settings: Any) -> InverterTraining:
    return InverterTraining(
        folder=folder,
        recipe=recipe,
        **{"held_out": 8, "checkpoint_every": 3, "validate_every": 5, **settings},
    )


def weights(inverter: Inverter) -> dict[str, torch.Tensor]:
    return inverter.state_dict()


def same(one: Inverter, other: Inverter) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_losses_are_what_their_names_say() -> None:
    estimated, true = torch.randn(3, 5, 2, 2), torch.randn(3, 5, 2, 2)
    a, b = estimated.permute(0, 2, 3, 1).reshape(-1, 5), true.permute(0, 2, 3, 1).reshape(-1, 5)
    cosine = 1 - (a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1)  # over channels, at every pixel
    torch.testing.assert_close(measure_loss("cosine", estimated, true), cosine.mean())
    torch.testing.assert_close(measure_loss("l1", estimated, true), (a - b).abs().mean())
    torch.testing.assert_close(measure_loss("mse", estimated, true), (a - b).square().mean())
    variance = torch.rand(5, 2, 2)
    explained = ((estimated - true).square() / variance).mean()
    torch.testing.assert_close(measure_loss("explained", estimated, true, variance), explained)
    half = measure_loss("mse", estimated.bfloat16(), true.bfloat16())
    assert half.dtype == torch.float32


def test_three_steps_of_the_joint_stage_are_those_written_by_hand(tmp_path: Path) -> None:
    generator = progan()
    budget = Budget(steps=3, learning_rate=1e-3)
    recipe = Recipe(
        joint=budget,
        batch_size=4,
        architecture=SMALL,
        estimated=("cut",),
        recovered=("z", "layer1", "x"),
    )
    trained = train_inverter(generator, task=task(tmp_path, recipe, cut="layer2", seed=9))
    split = split_generator(generator, "layer2")
    first, second = split.layers
    with torch.random.fork_rng():
        torch.manual_seed(step_seed(9, "joint", -1))
        inverter = Inverter(split.shapes, SMALL).train()
    optimizer = torch.optim.AdamW(inverter.parameters(), 1e-3, weight_decay=0)
    firm = {name: torch.ones_like(value) > 0 for name, value in inverter.named_parameters()}
    for index in range(3):
        source = torch.Generator().manual_seed(step_seed(9, "joint", index))
        latents = torch.randn(4, 8, generator=source)
        with torch.no_grad():
            r1 = first(latents)
            r2 = second(r1)
            images = split.tail(r2)
        found = inverter.estimates(images)
        again = first(found["z"])
        drawn = split.tail(second(again))
        loss = sum(
            (1 - functional.cosine_similarity(a, b, dim=1, eps=1e-12)).mean()
            for a, b in [(found["layer2"], r2), (found["z"], latents), (again, r1)]
        ) + functional.mse_loss(drawn, images)
        assert isinstance(loss, torch.Tensor)
        optimizer.zero_grad()
        loss.backward()
        for name, value in inverter.named_parameters():
            assert value.grad is not None
            firm[name] &= value.grad.abs() > 1e-5
        optimizer.step()
    # The same sums in another order differ by rounding, and Adam steps by its rate whatever a
    # gradient's size: where one is nothing but rounding (a bias before a batch normalisation), the
    # two part, and the network computes the same.
    for name, sure in firm.items():
        one, other = weights(trained)[name][sure], weights(inverter)[name][sure]
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5)
    assert sum(int(sure.sum()) for sure in firm.values()) > 0.8 * sum(
        s.numel() for s in firm.values()
    )
    found, again = (net.train().estimates(images) for net in (trained, inverter))
    for name in found:
        torch.testing.assert_close(found[name], again[name], rtol=1e-3, atol=1e-4)


def test_a_layer_is_trained_on_its_left_loss_and_a_hundredth_of_its_right(tmp_path: Path) -> None:
    generator = progan()
    train_inverter(generator, task=task(tmp_path, EVERY_STAGE, cut="layer2", seed=4))
    header, *rows = (tmp_path / "e_2.csv").read_text().splitlines()
    values = dict(zip(header.split(","), map(float, rows[-1].split(",")), strict=True))
    assert values["loss"] == pytest.approx(values["left"] + 0.01 * values["right"], rel=1e-6)
    header = (tmp_path / "e_f.csv").read_text().splitlines()[0]
    assert "right" not in header  # the tail has the left loss only


def test_every_stage_begins_with_what_was_trained_before_it(tmp_path: Path) -> None:
    rate_of_nothing = dataclasses.replace(STEPS, learning_rate=0.0, steps=1)
    recipe = dataclasses.replace(EVERY_STAGE, joint=rate_of_nothing)
    inverter = train_inverter(progan(), task=task(tmp_path, recipe, cut="layer2"))

    def kept(stage: str) -> dict[str, torch.Tensor]:
        state = torch.load(tmp_path / f"{stage}.checkpoint.pt", weights_only=True)
        return state["learner"]["network"]

    joint = kept("joint")
    for name, value in kept("bottom_2").items():
        if "running" not in name and "num_batches" not in name:  # batch norm sees one batch more
            assert torch.equal(joint[f"layers.{name}"], value)
    for name, value in kept("e_f").items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(joint[f"tail.{name}"], value)
    assert list(inverter.layer_names) == ["layer1", "layer2"]
    names = sorted(path.stem for path in tmp_path.glob("*.csv"))
    assert names == ["bottom_1", "bottom_2", "e_1", "e_2", "e_f", "joint"]
    assert len((tmp_path / "e_2.csv").read_text().splitlines()) == 2  # its own two steps, one row


@pytest.mark.parametrize("recipe", [JOINT, EVERY_STAGE])
def test_resumed_equals_uninterrupted(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = progan()
    whole = train_inverter(generator, task=task(tmp_path / "whole", recipe, cut="layer2"))
    stops = iter([2, 9, 11])  # losses taken before each interruption

    def interrupted(folder: Path) -> None:
        left = next(stops)

        def counting(*arguments: Any) -> torch.Tensor:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return measure_loss(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr("unseen.inversion.inverter_training.measure_loss", counting)
            with pytest.raises(KeyboardInterrupt):
                train_inverter(generator, task=task(folder, recipe, cut="layer2"))

    for _ in range(3):
        interrupted(tmp_path / "parts")
    parts = train_inverter(generator, task=task(tmp_path / "parts", recipe, cut="layer2"))
    assert same(whole, parts)
    assert whole.provenance == parts.provenance
    for log in (tmp_path / "whole").glob("*.csv"):
        assert log.read_text() == (tmp_path / "parts" / log.name).read_text()
    files = [(tmp_path / run / "inverter.safetensors").read_bytes() for run in ("whole", "parts")]
    assert files[0] == files[1]


def weights_file(folder: Path) -> Path:
    """A ProGAN at 8×8 as a file."""
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    path = folder / "generator.safetensors"
    save_file(ProGAN((4, 4, 4)).state_dict(), path)
    return path


TRIAL = ["--budget", "0.003", "--batch-size", "4", "--device", "cpu", "--cut", "layer2"]


def killed_at_random(folder: Path, kills: int) -> None:
    """Train by command, killed at moments spread over the training."""
    generator = weights_file(folder.parent)
    command = [sys.executable, "-m", "unseen", "train", f"progan:{generator}", str(folder)]
    moments = torch.rand(kills, generator=torch.Generator().manual_seed(kills)).tolist()
    for moment in moments:
        process = subprocess.Popen([*command, *TRIAL], stdout=subprocess.DEVNULL)
        while not folder.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moment)  # seconds; about what the steps take
        process.send_signal(signal.SIGKILL)
        process.wait()


def to_its_end(folder: Path) -> bytes:
    generator = weights_file(folder.parent)
    assert run(["train", f"progan:{generator}", str(folder), *TRIAL]) == 0
    return (folder / "inverter.safetensors").read_bytes()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_to_the_same_file(tmp_path: Path, kills: int) -> None:
    killed_at_random(tmp_path / "killed", kills)
    assert to_its_end(tmp_path / "killed") == to_its_end(tmp_path / "whole")


def test_ctrl_c_ends_the_command_with_130_and_it_goes_on(tmp_path: Path) -> None:
    generator, folder = weights_file(tmp_path), tmp_path / "stopped"
    command = [sys.executable, "-m", "unseen", "train", f"progan:{generator}", str(folder)]
    process = subprocess.Popen([*command, *TRIAL], stderr=subprocess.PIPE, text=True)
    while not folder.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert to_its_end(folder)


def test_a_loss_that_is_no_number_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "unseen.inversion.inverter_training.measure_loss",
        lambda *arguments: measure_loss(*arguments) * torch.nan,
    )
    with pytest.raises(TrainingError, match="is nan at step 1 of stage 'joint'"):
        train_inverter(progan(), task=task(tmp_path))
    assert not (tmp_path / "inverter.safetensors").exists()


def test_a_full_disk_is_said_and_the_last_checkpoint_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = progan()
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if (tmp_path / "joint.checkpoint.pt").exists():  # the second of the last stage
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="the disk is full while writing"):
            train_inverter(generator, task=task(tmp_path))
    state = torch.load(tmp_path / "joint.checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert same(
        train_inverter(generator, task=task(tmp_path)), train_inverter(generator, task=task(None))
    )


def test_another_generator_or_recipe_does_not_go_on_in_the_same_folder(tmp_path: Path) -> None:
    train_inverter(progan(), task=task(tmp_path))
    with pytest.raises(RecordError, match="another run"):
        train_inverter(progan(seed=1), task=task(tmp_path))
    longer = dataclasses.replace(JOINT, batch_size=5)
    with pytest.raises(RecordError, match="another run"):
        train_inverter(progan(), task=task(tmp_path, longer))


def test_training_improves_the_held_out_correlations() -> None:
    recipe = Recipe(
        joint=Budget(steps=100, learning_rate=1e-2, warmup=10, cosine=True),
        batch_size=16,
        architecture=SMALL,
    )
    measured = [
        train_inverter(progan(), task=task(None, recipe.scaled(share), cut="layer2", held_out=64))
        for share in (0.01, 1.0)  # one step, and all of them
    ]
    before, after = (inverter.provenance["held_out"] for inverter in measured)
    for name in ("z", "cut", "x"):
        # at 64 images a correlation of 8 dimensions has a standard error of about 0.12 / √8
        assert after[f"{name}_correlation"] > before[f"{name}_correlation"] + 0.2, name


def test_validation_is_held_out_and_in_evaluation_mode(tmp_path: Path) -> None:
    generator = progan()
    inverter = train_inverter(generator, task=task(tmp_path, cut="layer2"))
    latents = generator.latents(range(8), seed=HELD_OUT_SEED)
    with torch.no_grad():
        found = inverter(generator(latents))
    pooled = torch.corrcoef(torch.stack([latents.flatten(), found.flatten()]))[0, 1]
    # float32, and batches of another size
    assert inverter.provenance["held_out"]["z_pooled"] == pytest.approx(float(pooled), abs=1e-4)
    more = train_inverter(generator, task=task(tmp_path / "more", cut="layer2", validate_every=1))
    assert same(inverter, more)  # looking changes nothing


def test_batch_norm_sees_nothing_but_the_estimates_it_meets_in_use(tmp_path: Path) -> None:
    inverter = train_inverter(progan(), task=task(tmp_path, cut="layer2"))
    counts = [v for k, v in inverter.state_dict().items() if k.endswith("num_batches_tracked")]
    # once a step: a second pass over the generator's own features would mix two distributions
    assert {int(count) for count in counts} == {JOINT.joint.steps}


def test_training_leaves_the_generator_and_the_random_stream_alone() -> None:
    generator = progan()
    generator.network.requires_grad_(True)
    before = split_generator(generator, "layer2").weights_sha256
    state = torch.get_rng_state()
    train_inverter(generator, task=task(None, cut="layer2"))
    assert torch.equal(state, torch.get_rng_state())
    assert split_generator(generator, "layer2").weights_sha256 == before
    assert all(value.requires_grad for value in generator.network.parameters())
    assert all(value.grad is None for value in generator.network.parameters())


EXPLAINED = dataclasses.replace(
    EVERY_STAGE, layer_loss="explained", tail_loss="explained", image_loss="explained"
)


def test_explained_is_the_share_of_variance_that_is_left(tmp_path: Path) -> None:
    generator = progan()
    still = Budget(steps=1, learning_rate=0.0)
    recipe = Recipe(
        joint=still,
        batch_size=64,
        architecture=SMALL,
        image_loss="explained",
        estimated=(),
        recovered=("x",),
    )
    inverter = train_inverter(generator, task=task(tmp_path, recipe, cut="layer2"))
    header, row = (tmp_path / "joint.csv").read_text().splitlines()
    logged = dict(zip(header.split(","), row.split(","), strict=True))["recovered_x"]
    source = torch.Generator().manual_seed(step_seed(0, "joint", 0))
    images = generator(torch.randn(64, 8, generator=source))
    with torch.no_grad():
        inverter.train()
        found = generator(inverter(images))
    many = generator(generator.latents(range(4_000)))
    variance = many.var(dim=0)
    expected = ((found - images).square() / (variance + 0.01 * variance.mean())).mean()
    # a variance over 1,024 draws is known within 5 %, and its mean over 768 pixels better
    assert float(logged) == pytest.approx(float(expected), rel=0.05)


@pytest.mark.parametrize("generator", [progan(), dcgan()])
@pytest.mark.parametrize("recipe", [JOINT, EXPLAINED])
def test_bf16_and_any_generator_train(generator: NetworkGenerator, recipe: Recipe) -> None:
    inverter = train_inverter(generator, task=task(None, recipe, precision="bf16"))
    assert {value.dtype for value in inverter.parameters()} == {torch.float32}
    assert inverter(generator(generator.latents([0]))).shape == (1, generator.latent_size)
    assert not inverter.training


def test_provenance_says_what_was_trained_and_the_file_keeps_it(tmp_path: Path) -> None:
    generator = progan()
    inverter = train_inverter(generator, task=task(tmp_path, cut="layer2", seed=5))
    about = inverter.provenance
    assert about["generator"] == {"spec": "progan:toy-0"}
    assert (about["seed"], about["preset"], about["samples"]) == (5, "custom", 28)
    again = load_inverter(tmp_path / "inverter.safetensors", generator)
    sha256 = sha256_of_file(tmp_path / "inverter.safetensors")
    assert again.provenance == {**json.loads(json.dumps(about)), "weights_sha256": sha256}
    assert same(inverter, again)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out": 1}, "held_out"),
        ({"cut": "layer9"}, "it has no such layer"),
        ({"recipe": dataclasses.replace(JOINT, batch_size=1)}, "need at least 2"),
        ({"recipe": dataclasses.replace(JOINT, recovered=("y",))}, "no loss 'y'; choose some"),
        ({"recipe": dataclasses.replace(JOINT, estimated=("x",))}, "estimates no image"),
        ({"recipe": dataclasses.replace(JOINT, estimated=(), recovered=())}, "has no loss"),
        (
            {"recipe": dataclasses.replace(JOINT, architecture=Architecture(halfsize=True))},
            "halfsize is the iccv2019",
        ),
    ],
)
def test_settings_that_make_no_training_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        train_inverter(progan(), task=dataclasses.replace(task(None), **changes))


def test_generators_that_cannot_be_split_are_refused() -> None:
    function = FunctionGenerator(
        lambda latents: latents[:, :3, None, None], latent_size=4, resolution=1
    )
    for generator in (function, styled()):
        with pytest.raises(GeneratorError, match=r"cannot be split|gives Pair"):
            train_inverter(generator, task=task(None))


def test_the_command_trains_goes_on_and_says_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = weights_file(tmp_path)
    options = ["--budget", "1e-9", "--batch-size", "4", "--cut", "layer1", "--device", "cpu"]
    command = ["train", f"progan:{generator}", str(tmp_path / "out"), *options]
    chosen = ["--recovered", "z", "--estimated", "none", "--layer-loss", "l1", "--tensorboard"]
    for _ in range(2):
        assert run([*command, *chosen]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"{tmp_path / 'out' / 'inverter.safetensors'}: layers layer1; ")
        assert "256 held-out images: z " in out
    recipe = load_inverter(
        tmp_path / "out" / "inverter.safetensors", progan_of(generator)
    ).provenance["recipe"]
    assert (recipe["recovered"], recipe["estimated"], recipe["layer_loss"]) == (["z"], [], "l1")
    assert recipe["image_loss"] == PRESETS["default"].image_loss
    assert list((tmp_path / "out" / "tensorboard" / "joint").iterdir())
    assert run([*command, "--layer-loss", "mse"]) == 1
    assert "another run" in capsys.readouterr().err


def progan_of(path: Path) -> NetworkGenerator:
    from unseen.generators import load_generator

    generator = load_generator(f"progan:{path}")
    assert isinstance(generator, NetworkGenerator)
    return generator


def test_a_spec_a_folder_and_keywords_are_enough(tmp_path: Path) -> None:
    spec = f"progan:{weights_file(tmp_path)}"
    fields = {"recipe": JOINT, "cut": "layer2", "held_out": 8}
    inverter = train_inverter(spec, str(tmp_path / "out"), device="cpu", **fields)
    assert inverter.layer_names[-1] == "layer2"
    assert (tmp_path / "out" / "inverter.safetensors").is_file()
    by_task = train_inverter(Path(spec), device="cpu", task=InverterTraining(**fields))
    assert same(inverter, by_task)
    with pytest.raises(SpecError, match="layer77"):
        train_inverter(spec, device="cpu", task=InverterTraining(**fields), cut="layer77")


def test_progress_is_told_of_every_stage(tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    train_inverter(progan(), task=task(tmp_path, EVERY_STAGE, cut="layer1"), progress=seen.append)
    assert list(dict.fromkeys(one.stage for one in seen)) == ["e_1", "e_f", "bottom_1", "joint"]
    assert "x_correlation" in seen[-1].metrics
    overall = [one.overall[0] for one in seen]
    assert overall == sorted(overall)
    assert seen[-1].overall == (3 + 7 + 2 + 7, 3 + 7 + 2 + 7)
