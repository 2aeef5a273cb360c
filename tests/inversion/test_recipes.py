"""Presets are the release's budgets, to the step; schedules do what they say."""

import pytest

from unseen.core.errors import SpecError
from unseen.inversion.recipes import PRESETS, Budget, preset


def test_iccv2019_has_the_releases_budgets() -> None:
    recipe = preset("iccv2019")
    assert recipe.batch_size == 32
    assert recipe.layers is not None
    assert recipe.second_layer is not None
    assert recipe.tail is not None
    # 100 epochs of 100 batches; ×0.1 after 20 and 60, layer 2 after 60 and 80
    for budget, milestones in [
        (recipe.layers, (2_000, 6_000)),
        (recipe.second_layer, (6_000, 8_000)),
    ]:
        assert budget.steps == 10_000
        assert budget.milestones == milestones
        first, second = milestones
        assert [budget.rate(k) for k in (0, first - 1)] == [1e-4, 1e-4]
        assert [budget.rate(k) for k in (first, second, 9_999)] == pytest.approx([1e-5, 1e-6, 1e-6])
    assert recipe.tail.steps == 10_000
    assert {recipe.tail.rate(k) for k in range(0, 10_000, 500)} == {0.01}
    assert recipe.joint.steps == 100_000
    rates = [recipe.joint.rate(k) for k in (4_999, 5_000, 15_000, 35_000, 99_999)]
    assert rates == pytest.approx([1e-5, 5e-6, 2.5e-6, 1.25e-6, 1.25e-6])


def test_iccv2019_has_the_releases_losses() -> None:
    recipe = preset("iccv2019")
    assert (recipe.layer_loss, recipe.tail_loss, recipe.image_loss) == ("cosine", "mse", "mse")
    assert recipe.recovered_weight == 0.01
    assert recipe.estimated == ("cut",)
    assert recipe.recovered == ("z", "cut", "x")
    assert recipe.architecture.family == "iccv2019"


def test_bottom_up_fine_tunes_the_lower_layers_step_by_step() -> None:
    recipe = preset("bottom-up")
    assert recipe.bottom == recipe.joint
    assert recipe.joint.steps == 100_000
    assert [recipe.joint.rate(k) for k in (0, 50_000)] == pytest.approx([1.5e-4, 3e-5])
    assert recipe.recovered == ("z", "layers", "x")
    assert (recipe.layers, recipe.tail) == (preset("iccv2019").layers, preset("iccv2019").tail)


def test_samples_count_every_stage() -> None:
    # four layers, tail, joint: 32 · (4 · 10,000 + 10,000 + 100,000)
    assert preset("iccv2019").samples(4) == 4_800_000
    assert preset("bottom-up").samples(4) == 4_800_000 + 32 * 4 * 100_000


def test_the_default_draws_at_most_a_fifth_of_iccv2019s_samples() -> None:
    for layers in (1, 2, 4):
        assert PRESETS["default"].samples(layers) <= PRESETS["iccv2019"].samples(layers) / 5


def test_a_warm_up_rises_and_a_cosine_falls() -> None:
    budget = Budget(steps=110, learning_rate=1.0, warmup=10, cosine=True)
    assert [budget.rate(k) for k in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1, 1])
    assert budget.rate(60) == pytest.approx(0.5)  # half-way
    assert budget.rate(109) < 0.001


def test_a_share_of_a_budget_keeps_its_shape() -> None:
    recipe = preset("iccv2019").scaled(0.01)
    assert recipe.joint.steps == 1_000
    assert recipe.joint.milestones == (50, 150, 350)
    assert recipe.tail is not None
    assert recipe.tail.steps == 100
    assert recipe.joint.learning_rate == 1e-5


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
def test_a_share_must_be_positive(share: float) -> None:
    with pytest.raises(SpecError, match="a share above 0 is needed"):
        preset("default").scaled(share)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(SpecError, match="no preset 'iccv'; choose one of default, iccv2019"):
        preset("iccv")
