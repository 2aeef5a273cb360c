"""The bench of sampling: both ways draw the same images, and the report says how they differ."""

import json

import pytest
import torch
from safetensors.torch import save_file

from unseen.bench import timing
from unseen.bench.sampling import SamplingSpeed, measure, table
from unseen.bench.timing import take_turns
from unseen.cli.main import run
from unseen.core.errors import SpecError
from unseen.generators.progan import ProGAN

WIDTHS = (9, 12, 10, 8)  # latent, 4×4, 8×8, 16×16


@pytest.fixture
def toy(tmp_path):
    """A spec of a small ProGAN."""
    torch.manual_seed(0)
    path = tmp_path / "toy.safetensors"
    save_file(ProGAN(WIDTHS).state_dict(), path)
    return f"progan:{path}"


def test_both_ways_draw_the_same_images(toy):
    result = measure(SamplingSpeed(generator=toy, count=5, rounds=1, batch_size=2))
    assert json.loads(json.dumps(result)) == result
    plain, fp32, bf16 = result["measured"]
    assert (plain["way"], plain["ratio"], plain["most"]) == ("plain", None, None)
    assert fp32["most"] <= 1  # rounding of a float32 that differs by its last bits
    assert fp32["mean_level"] < 1e-3
    assert 0 < bf16["mean_level"] < 4  # bf16 has 8 bits of precision, and there are 7 layers
    assert table(result).count("\n") == 4


def test_a_generator_by_its_spec_is_measured_by_the_command(toy, capsys):
    command = ["bench", "sampling", toy, "--count", "2", "--rounds", "1", "--json"]
    assert run(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["resolution"] == 16
    assert [each["way"] for each in result["measured"]] == ["plain", "fp32", "bf16"]


def test_a_pipeline_in_batches_draws_what_a_call_an_image_draws(tmp_path):
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        add_attention=False,
    )
    DDIMPipeline(network, DDIMScheduler()).save_pretrained(tmp_path / "pipeline")
    spec = f"diffusers:{tmp_path / 'pipeline'}?steps=2"
    task = SamplingSpeed(
        generator=spec, count=5, rounds=1, batch_size=4, device="cpu", precisions=("fp32",)
    )
    plain, batched = measure(task)["measured"]
    assert (plain["way"], batched["way"]) == ("plain", "fp32")
    assert batched["most"] <= 1  # rounding of a float32 that differs by its last bits
    assert batched["mean_level"] < 1e-2


def test_a_function_cannot_be_run_plainly(tmp_path, monkeypatch):
    (tmp_path / "made_for_the_bench.py").write_text(
        "import unseen\n"
        "def make(precision):\n"
        "    return unseen.FunctionGenerator(lambda z: z, latent_size=2, resolution=8)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpecError, match="made_for_the_bench"):
        measure(SamplingSpeed(generator="python:made_for_the_bench:make"))


def test_a_ratio_is_the_median_over_pairs_of_turns(monkeypatch):
    # warm-up, then three rounds: the plain way takes 9, 2, 4 s, the other 3, 2, 1 s
    ticks = iter([0, 1, 0, 1, 0, 9, 0, 3, 0, 2, 0, 2, 0, 4, 0, 1])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(timing.time, "process_time", iter(range(1, 1000)).__next__)
    work = {"plain": lambda: None, "other": lambda: None}
    plain, other = take_turns(work, images=2, rounds=3)
    assert (plain.ratio, other.ratio) == (None, 3)  # of 3, 1 and 4
    assert (plain.images_per_second, other.images_per_second) == (0.5, 1)  # of 2 images
