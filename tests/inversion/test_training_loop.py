"""The training loop: what it computes, what it leaves alone, how it goes on after a stop."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.kills import killed_while_writing
from tests.support.tensors import assert_same_bits

from unseen.core.errors import (
    CheckpointError,
    OutOfMemoryError,
    RecordError,
    StorageError,
    TrainingError,
)
from unseen.inversion.network_learner import Arithmetic, MovingAverage, NetworkLearner
from unseen.inversion.training_loop import (
    Training,
    TrainingProgress,
    evaluating,
    step_seed,
    train,
)

STEPS = 7  # neither a multiple of the log's 2 nor of the checkpoint's 3


def toy_network() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Dropout(0.2)
    )


def toy_losses(
    network: torch.nn.Module, index: int, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    images = torch.randn(4, 1, 6, 6, generator=generator)
    output = network(images)
    return {"loss": (output - 1).square().mean(), "size": output.abs().mean()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy:
    """A convolution that learns to say one."""

    name: str = "toy"
    steps: int = STEPS
    learning_rate: float = 0.01
    average_decay: float | None = 0.9
    stop_before: int | None = None  # raise there, as a killed run would
    spoil_at: int | None = None  # a loss of NaN there
    no_memory_at: int | None = None

    def identity(self) -> Mapping[str, Any]:
        return {"learning_rate": self.learning_rate, "steps": self.steps}

    def begin(self, device: torch.device, earlier: Mapping[str, Any]) -> NetworkLearner:
        def losses(network: torch.nn.Module, index: int, generator: torch.Generator) -> Any:
            if index == self.stop_before:
                raise KeyboardInterrupt
            if index == self.no_memory_at:
                raise torch.OutOfMemoryError("CUDA out of memory")
            values = toy_losses(network, index, generator)
            return {"loss": values["loss"] * torch.nan} if index == self.spoil_at else values

        network = toy_network()
        return NetworkLearner(
            network,
            torch.optim.Adam(network.parameters(), self.learning_rate),
            losses,
            device=device,
            average_decay=self.average_decay,
            validation=lambda network: {
                "bias": float(network.get_parameter("0.bias").detach().sum())
            },
        )


def run(folder: Path, stage: Toy, **settings: Any) -> NetworkLearner:
    task = Training(
        stages=[stage], folder=folder, seed=5, log_every=2, checkpoint_every=3, **settings
    )
    learner = train(task)[stage.name]
    assert isinstance(learner, NetworkLearner)
    return learner


def test_three_steps_equal_three_written_by_hand(tmp_path: Path) -> None:
    learner = run(tmp_path, Toy(steps=3, average_decay=None))
    torch.manual_seed(step_seed(5, "toy", -1))
    network = toy_network()
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for index in range(3):
        torch.manual_seed(step_seed(5, "toy", index))
        generator = torch.Generator().manual_seed(step_seed(5, "toy", index))
        for parameter in network.parameters():
            parameter.grad = None
        toy_losses(network, index, generator)["loss"].backward()
        optimizer.step()
    assert_same_bits(learner.network.state_dict(), network.state_dict())


@pytest.mark.parametrize("stop_before", [1, 3, 5])  # before, at and after a checkpoint
def test_resumed_equals_uninterrupted(tmp_path: Path, stop_before: int) -> None:
    whole = run(tmp_path / "whole", Toy())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", Toy(stop_before=stop_before))
    killed_while_writing(tmp_path / "cut" / "toy.checkpoint.pt")
    resumed = run(tmp_path / "cut", Toy())
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {
        *("training.json", "toy.checkpoint.pt", "toy.csv"),
    }
    assert_same_bits(whole.state_dict(), resumed.state_dict())
    log = (tmp_path / "whole" / "toy.csv").read_text()
    assert (tmp_path / "cut" / "toy.csv").read_text() == log
    assert [line.split(",")[0] for line in log.splitlines()] == ["step", "2", "4", "6", "7"]


def test_progress_is_told_from_the_first_step_on_and_where_a_resumed_run_begins(
    tmp_path: Path,
) -> None:
    told: list[TrainingProgress] = []
    stages = [Toy(name="before", steps=3), Toy(stop_before=5)]
    task = Training(stages=stages, folder=tmp_path, log_every=2, checkpoint_every=3)
    with pytest.raises(KeyboardInterrupt):
        train(task, progress=told.append)
    assert [report.overall[0] for report in told] == [0, 1, 2, 3, 3, 4, 5, 6, 7, 8]
    assert [report.step for report in told if report.metrics] == [2, 3, 2, 4]
    told.clear()
    train(dataclasses.replace(task, stages=[stages[0], Toy()]), progress=told.append)
    assert [report.overall[0] for report in told] == [6, 7, 8, 9, 10]


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    whole = run(tmp_path, Toy())
    again = run(tmp_path, Toy(stop_before=0))  # would raise if a single step ran
    assert_same_bits(whole.state_dict(), again.state_dict())


def test_evaluation_changes_no_buffer_and_puts_the_modes_back() -> None:
    network = toy_network()
    network[3].eval()  # one part of it was in evaluation mode already
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with evaluating(network):
        network(torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)))
        assert not any(module.training for module in network.modules())
    assert_same_bits(before, network.state_dict())
    assert [module.training for module in network] == [True, True, True, False]


def test_validation_leaves_training_as_it_was(tmp_path: Path) -> None:
    seldom = run(tmp_path / "seldom", Toy())
    often = run(tmp_path / "often", Toy(), validate_every=1)
    assert_same_bits(seldom.state_dict(), often.state_dict())


def test_a_loss_that_is_nan_stops_with_the_step_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss is nan at step 5 of stage 'toy'"):
        run(tmp_path, Toy(spoil_at=4))
    state = torch.load(tmp_path / "toy.checkpoint.pt", weights_only=True)
    assert state["step"] == 3  # the last multiple of checkpoint_every before the fifth step


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    run(tmp_path, Toy())
    with pytest.raises(RecordError, match=r"learning_rate is 0\.01 there, 0\.02 here"):
        run(tmp_path, Toy(learning_rate=0.02))


def test_files_that_no_training_made_may_lie_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    run(tmp_path, Toy())
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_second_run_in_the_same_folder_is_refused_and_the_first_loses_nothing(
    tmp_path: Path,
) -> None:
    refused = []

    class Met(Toy):
        """Meets another run of the same training before its last checkpoint."""

        def begin(self, device: torch.device, earlier: Mapping[str, Any]) -> NetworkLearner:
            with pytest.raises(StorageError, match=re.escape(str(tmp_path / "met"))) as error:
                run(tmp_path / "met", Toy())
            refused.append(error.value)
            return super().begin(device, earlier)

    met = run(tmp_path / "met", Met())
    assert len(refused) == 1
    assert_same_bits(met.state_dict(), run(tmp_path / "alone", Toy()).state_dict())


def test_a_checkpoint_without_its_header_is_refused_and_kept(tmp_path: Path) -> None:
    run(tmp_path, Toy())
    (tmp_path / "training.json").unlink()
    with pytest.raises(StorageError, match=r"training\.json"):
        run(tmp_path, Toy())
    assert (tmp_path / "toy.checkpoint.pt").exists()


@pytest.mark.parametrize("content", [b"no checkpoint", b"", b"PK\x03\x04"])
def test_an_unreadable_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    run(tmp_path, Toy())
    (tmp_path / "toy.checkpoint.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"toy\.checkpoint\.pt"):
        run(tmp_path, Toy())


def test_out_of_memory_says_what_to_lower_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemoryError, match="--batch-size"):
        run(tmp_path, Toy(no_memory_at=4))
    resumed = run(tmp_path, Toy())
    assert_same_bits(run(tmp_path / "whole", Toy()).state_dict(), resumed.state_dict())


def test_the_moving_average_follows_its_formula() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 0.0)
    average = MovingAverage(network, decay=0.15)
    torch.nn.init.constant_(network.weight, 1.0)
    average.update(network)  # decay min(0.15, 1/10): 0.1·0 + 0.9·1
    torch.nn.init.constant_(network.weight, 2.0)
    average.update(network)  # decay min(0.15, 2/11): 0.15·0.9 + 0.85·2
    # float32 rounding of two products
    assert average.network.weight.item() == pytest.approx(0.15 * 0.9 + 0.85 * 2, rel=1e-6)


def test_bf16_trains_with_weights_in_fp32(tmp_path: Path) -> None:
    arithmetic = Arithmetic(precision="bf16", channels_last=True)
    device = torch.device("cpu")
    network = arithmetic.place(toy_network(), device)
    learner = NetworkLearner(
        network,
        torch.optim.SGD(network.parameters(), 0.01),
        toy_losses,
        device=device,
        arithmetic=arithmetic,
    )
    learner.step(0, torch.Generator().manual_seed(0))
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    with arithmetic.autocast(device):
        assert network(torch.zeros(1, 1, 6, 6)).dtype == torch.bfloat16
