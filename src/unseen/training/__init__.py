"""The one training loop of the package; segmenter, GAN and inverters are stages given to it."""

from unseen.training.loop import (
    Learner,
    Stage,
    Training,
    TrainingProgress,
    evaluating,
    read_checkpoint,
    step_seed,
    train,
)
from unseen.training.network import Arithmetic, MovingAverage, NetworkLearner

__all__ = [
    "Arithmetic",
    "Learner",
    "MovingAverage",
    "NetworkLearner",
    "Stage",
    "Training",
    "TrainingProgress",
    "evaluating",
    "read_checkpoint",
    "step_seed",
    "train",
]
