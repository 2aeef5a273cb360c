import math

import numpy as np
import pytest
import scipy.optimize
import torch

from unseen.inversion.optimise import LBFGS, SOAP, Adam, minimise


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


def solved(objective, start, optimiser, shapes=()):
    found = {each.row: each for each in minimise(objective, start, optimiser, shapes)}
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


@pytest.mark.parametrize(
    "optimiser", [LBFGS(steps=60), Adam(steps=60, learning_rate=0.1), SOAP(steps=60)]
)
def test_a_row_does_not_depend_on_its_batch(optimiser):
    objective, _, _ = quadratics(6, 8)
    start = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    shapes = [(2, 4)]
    together = solved(objective, start, optimiser, shapes)
    for row in range(6):
        (alone,) = minimise(
            lambda p, _, r=row: objective(p, torch.tensor([r])),
            start[row : row + 1],
            optimiser,
            shapes,
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


def soap_by_hand(gradient, W, settings):
    """Algorithm 3 of Vyas et al. on one matrix, with M kept unturned, in NumPy's float64."""
    beta1, beta2 = settings.momentum, settings.memory
    L, R, M, V = 0, 0, 0, 0
    for step in range(settings.steps):
        G = gradient(W)
        L = beta2 * L + (1 - beta2) * G @ G.T
        R = beta2 * R + (1 - beta2) * G.T @ G
        if step == 0:
            Q_L, Q_R = (np.linalg.eigh(side)[1][:, ::-1] for side in (L, R))
        elif step % settings.renewed_every == 0:
            Q_L, Q_R = np.linalg.qr(L @ Q_L)[0], np.linalg.qr(R @ Q_R)[0]
        M = beta1 * M + (1 - beta1) * G
        V = beta2 * V + (1 - beta2) * (Q_L.T @ G @ Q_R) ** 2
        m, v = M / (1 - beta1 ** (step + 1)), V / (1 - beta2 ** (step + 1))
        N = (Q_L.T @ m @ Q_R) / (np.sqrt(v) + 1e-8)
        W = W - settings.rate(step) * Q_L @ N @ Q_R.T
    return W


def test_soap_takes_the_steps_of_its_paper_on_each_tensor_of_a_row():
    rng = np.random.default_rng(5)
    # ½ |A W B|² + 1 · W for a matrix W, of full rank so that its eigenvectors are unique
    A, B = rng.standard_normal((2, 4, 4))
    settings = SOAP(steps=25, learning_rate=0.05, momentum=0.9, falling=True, renewed_every=4)
    starts = rng.standard_normal((2, 4, 4))

    def objective(points, rows):
        W = points.reshape(-1, 2, 4, 4)
        product = torch.from_numpy(A) @ W @ torch.from_numpy(B)
        return 0.5 * product.square().sum((1, 2, 3)) + W.sum((1, 2, 3))

    (found,) = minimise(
        objective, torch.from_numpy(starts).reshape(1, -1), settings, [(4, 2, 2), (4, 4)]
    )
    reference = [
        soap_by_hand(lambda W: A.T @ A @ W @ B @ B.T + 1, start, settings) for start in starts
    ]
    assert np.allclose(found.point.numpy(), np.stack(reference).ravel(), atol=1e-9)


def test_soap_does_not_depend_on_the_axes_of_channels_and_places():
    """Turned problems have turned answers, which Adam's do not."""
    rng = np.random.default_rng(6)
    A, B = torch.from_numpy(rng.standard_normal((2, 4, 4)))
    U, V = torch.from_numpy(np.linalg.qr(rng.standard_normal((2, 4, 4)))[0])
    start = torch.from_numpy(rng.standard_normal((1, 16)))

    def turned(points):
        return (U @ points.reshape(-1, 4, 4) @ V).flatten(1)

    def objective(points, rows):
        return ((A @ points.reshape(-1, 4, 4) @ B) - 1).square().sum((1, 2))

    for optimiser, same in ((SOAP(steps=30), True), (Adam(steps=30), False)):
        (plain,) = minimise(lambda p, r: objective(turned(p), r), start, optimiser, [(4, 4)])
        (other,) = minimise(objective, turned(start), optimiser, [(4, 4)])
        # Along an axis without a gradient rounding alone decides: some 1e-5, beside 0.25 of Adam.
        assert torch.allclose(turned(plain.point[None]), other.point, atol=1e-4) is same


def test_a_falling_rate_ends_at_nothing():
    settings = Adam(steps=100, learning_rate=0.1, falling=True)
    assert settings.rate(0) == 0.1
    assert settings.rate(50) == pytest.approx(0.05)
    assert settings.rate(100) == 0


@pytest.mark.parametrize("optimiser", [LBFGS(steps=20), Adam(steps=20), SOAP(steps=20)])
def test_a_loss_that_is_not_a_number_fails_alone(optimiser):
    objective, _, _ = quadratics(3, 256)
    shapes = [(16, 16)]  # LAPACK refuses to decompose a matrix of this size that is not finite

    def spoilt(points, rows):
        return objective(points, rows) * torch.where(rows == 1, math.nan, 1.0)

    found = solved(spoilt, torch.ones(3, 256), optimiser, shapes)
    assert found[1].failed == "the loss is not a number after 0 steps"
    assert [each.failed for each in (found[0], found[2])] == [None, None]
    whole = solved(objective, torch.ones(3, 256), optimiser, shapes)
    assert torch.equal(found[2].point, whole[2].point)


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
