import math

import numpy as np
import pytest
import scipy.optimize
import torch

from unseen.inversion.optimise import LBFGS, Adam, minimise


def quadratics(n: int, d: int, seed: int = 0):
    """n convex quadratics ½ xᵀAx − bᵀx whose condition numbers go from 2 to 1,000."""
    rng = np.random.default_rng(seed)
    matrices, targets = [], []
    for condition in np.geomspace(2, 1000, n):
        axes, _ = np.linalg.qr(rng.standard_normal((d, d)))
        matrices.append(axes @ np.diag(np.geomspace(1, condition, d)) @ axes.T)
        targets.append(rng.standard_normal(d))
    A = torch.from_numpy(np.stack(matrices)).float()
    b = torch.from_numpy(np.stack(targets)).float()

    def objective(points, rows):
        product = torch.einsum("mij,mj->mi", A[rows], points)
        return 0.5 * (points * product).sum(1) - (b[rows] * points).sum(1)

    return objective, A, b


def solved(objective, start, optimiser):
    found = {each.row: each for each in minimise(objective, start, optimiser)}
    assert sorted(found) == list(range(len(start)))
    return [found[row] for row in range(len(start))]


def test_lbfgs_finds_what_scipys_finds():
    objective, A, b = quadratics(5, 12)
    start = torch.ones(5, 12)
    found = solved(objective, start, LBFGS(steps=200))
    for row in range(5):
        matrix, target = A[row].numpy().astype(float), b[row].numpy().astype(float)
        reference = scipy.optimize.minimize(
            lambda x, m=matrix, t=target: (0.5 * x @ m @ x - t @ x, m @ x - t),
            np.ones(12),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 1000, "gtol": 1e-8, "ftol": 1e-14},
        )
        value = objective(found[row].point[None], torch.tensor([row])).item()
        # float32's rounding of a loss that is a difference of terms near 10
        assert value == pytest.approx(reference.fun, abs=1e-5 * max(1, abs(reference.fun)))


def test_lbfgs_solves_rosenbrocks_valley_from_its_customary_start():
    def rosenbrock(points, rows):
        x, y = points.unbind(1)
        return 100 * (y - x**2) ** 2 + (1 - x) ** 2

    (found,) = solved(rosenbrock, torch.tensor([[-1.2, 1.0]]), LBFGS(steps=120))
    assert found.point.tolist() == pytest.approx([1, 1], abs=1e-3)


def test_lbfgs_gets_past_kinks():
    """Lewis and Overton's example has its minimum in a kink; the gradient never vanishes."""

    def kinked(points, rows):
        return points[:, 0].abs() + (points[:, 1] - 1).abs() * 10 + 0.1 * points.square().sum(1)

    (found,) = solved(kinked, torch.tensor([[3.0, -2.0]]), LBFGS(steps=150))
    assert found.point.tolist() == pytest.approx([0, 1], abs=2e-3)


@pytest.mark.parametrize("optimiser", [LBFGS(steps=60), Adam(steps=60, learning_rate=0.1)])
def test_a_row_does_not_depend_on_its_batch(optimiser):
    objective, _, _ = quadratics(6, 8)
    start = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    together = solved(objective, start, optimiser)
    for row in range(6):
        (alone,) = minimise(
            lambda p, _, r=row: objective(p, torch.tensor([r])), start[row : row + 1], optimiser
        )
        assert torch.allclose(alone.point, together[row].point, atol=1e-4)
        assert alone.steps == together[row].steps


def test_adam_takes_pytorchs_steps_with_the_rates_of_the_schedule():
    objective, _, _ = quadratics(1, 4)
    settings = Adam(steps=30, learning_rate=0.05, halved_at=(10, 20), momentum=0.95)
    (found,) = minimise(objective, torch.ones(1, 4), settings)
    point = torch.ones(1, 4, requires_grad=True)
    reference = torch.optim.Adam([point], lr=0.05, betas=(0.95, 0.999))
    for step in range(30):
        if step in (10, 20):
            reference.param_groups[0]["lr"] /= 2
        reference.zero_grad()
        objective(point, torch.tensor([0])).sum().backward()
        reference.step()
    assert torch.allclose(found.point, point[0], atol=1e-6)  # float32's rounding


def test_a_falling_rate_ends_at_nothing():
    settings = Adam(steps=100, learning_rate=0.1, falling=True)
    assert settings.rate(0) == 0.1
    assert settings.rate(50) == pytest.approx(0.05)
    assert settings.rate(100) == 0


@pytest.mark.parametrize("optimiser", [LBFGS(steps=20), Adam(steps=20)])
def test_a_loss_that_is_not_a_number_fails_alone(optimiser):
    objective, _, _ = quadratics(3, 4)

    def spoilt(points, rows):
        return objective(points, rows) * torch.where(rows == 1, math.nan, 1.0)

    found = solved(spoilt, torch.ones(3, 4), optimiser)
    assert found[1].failed == "the loss is not a number after 0 steps"
    assert [each.failed for each in (found[0], found[2])] == [None, None]
    assert torch.equal(found[2].point, solved(objective, torch.ones(3, 4), optimiser)[2].point)


def test_a_line_search_comes_back_from_where_the_loss_is_not_a_number():
    def guarded(points, rows):
        x = points[:, 0]
        return torch.where(x > 0, x - torch.log(x.clamp_min(1e-30)), torch.full_like(x, math.nan))

    (found,) = solved(guarded, torch.tensor([[30.0]]), LBFGS(steps=60, first_step=100.0))
    assert found.failed is None
    assert found.point.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "optimiser",
    [
        LBFGS(steps=500, tolerance=1e-4, window=10),
        Adam(steps=500, learning_rate=0.1, tolerance=1e-4, window=10),
    ],
)
def test_what_no_longer_falls_leaves_the_batch_and_is_called_no_more(optimiser):
    sizes = []

    def uneven(points, rows):
        sizes.append(len(rows.unique()))
        # row 1's minimum is twenty times as far, in a valley of condition 1,000
        far = (rows == 1).float()
        return 1 + (points[:, 0] - 20 * far).square() + (points[:, 1] * (1 + 30 * far)).square()

    ends = list(minimise(uneven, torch.ones(2, 2), optimiser))
    assert ends[0].row == 0
    assert sizes[-1] == 1
    assert ends[0].steps < ends[1].steps == len(sizes) <= 500


def test_a_start_at_the_minimum_stays_there():
    (found,) = minimise(lambda p, _: p.square().sum(1), torch.zeros(1, 3), LBFGS(steps=50))
    assert found.point.tolist() == [0, 0, 0]
    assert found.steps == 1
