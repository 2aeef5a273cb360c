"""Minimise many small problems at once, each as if it were alone.

A batch holds one problem an image: a vector and its own loss. Every evaluation runs the network
once for the whole batch, and everything else (Adam's moments, SOAP's bases, L-BFGS's history, step
length and line search, the decision to stop) is kept image by image, so an image's result does not
depend on its batch. What is finished leaves the batch. No networks and no images here: `methods`
has those.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Objective = Callable[[Float[Tensor, "m d"], Int64[Tensor, " m"]], Float[Tensor, " m"]]
"""Points and the rows of the batch that they belong to → the loss of each; rows are independent."""

Shapes = Sequence[Sequence[int]]
"""Of the tensors that a point is made of, in order, e.g. of a δ (channels, height, width)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam with a learning rate that is halved at some steps, or that falls to nothing.

    Source: Kingma and Ba, ICLR 2015; PyTorch's constants.
    """

    steps: int = 3000
    learning_rate: float = 0.01
    halved_at: tuple[int, ...] = ()  # steps done when the rate is halved
    falling: bool = False  # on a straight line from the first step to nothing after the last
    momentum: float = 0.9  # β₁
    tolerance: float = 0.0  # an image stops when its loss falls by a smaller part than this …
    window: int = 50  # … in so many steps; 0 never stops early

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rate = self.learning_rate * 0.5 ** sum(step >= at for at in self.halved_at)
        return rate * (1 - step / self.steps) if self.falling else rate

    def begin(self, start: Float[Tensor, "n d"], _: Shapes, /) -> "Search":
        """The search from these points."""
        return _AdamSearch(self, start)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SOAP(Adam):
    """Adam in the eigenbasis of each block's gradients: of a δ, channels by places.

    Source: Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, ICLR 2025, algorithm 3.
    """

    memory: float = 0.95  # β₂, of Adam's second moments and of those that the basis follows from
    renewed_every: int = 10  # steps from a basis to the next: the paper's f

    def begin(self, start: Float[Tensor, "n d"], shapes: Shapes, /) -> "Search":
        """The search from these points."""
        return _SOAPSearch(self, start, shapes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LBFGS:
    """Limited-memory BFGS with a line search for each image.

    The search brackets a step that satisfies the weak Wolfe conditions, as suits a loss with
    kinks: an L1 distance behind leaky ReLUs.
    Sources: Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.4; Lewis and Overton,
    Nonsmooth optimization via quasi-Newton methods, Mathematical Programming 141, 2013.
    """

    steps: int = 300  # evaluations of loss and gradient at most; a line search takes one or more
    memory: int = 10  # pairs kept
    first_step: float = 0.01  # root mean square of the first step tried
    tolerance: float = 0.0  # an image stops when its loss falls by a smaller part than this …
    window: int = 50  # … in so many evaluations

    def begin(self, start: Float[Tensor, "n d"], _: Shapes, /) -> "Search":
        """The search from these points."""
        return _LBFGSSearch(self, start)


Optimiser = Adam | LBFGS


class Search(Protocol):
    """A batch of searches in step: each is told its loss, and says where to look next."""

    trial: Tensor  # (m, d): where loss and gradient are wanted
    point: Tensor  # (m, d): what is found so far
    ended: Tensor  # bool (m,): nothing more to be found

    def tell(self, loss: Tensor, gradient: Tensor, /) -> None:
        """Take the loss (m,) and gradient (m, d) of `trial`."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone."""
        ...


class Finished(NamedTuple):
    """One search that has ended."""

    row: int  # of the start
    point: Tensor  # (d,)
    steps: int  # evaluations of loss and gradient
    failed: str | None  # why there is no result


def minimise(
    objective: Objective,
    start: Float[Tensor, "n d"],
    optimiser: Optimiser,
    shapes: Shapes = (),
) -> Iterator[Finished]:
    """Minimise each row's loss from its start; rows come in the order in which they end.

    Args:
        objective: the losses of a batch, of which every row depends on its own point alone.
        start: one row a problem; left as it is.
        optimiser: how, and for how long.
        shapes: of the tensors that a row is made of. None: the row is a vector.

    Yields:
        Each row once. A row whose loss is not a number has failed, the rest go on.
    """
    search = optimiser.begin(start.detach().clone(), shapes or [start.shape[1:]])
    rows = torch.arange(len(start), device=start.device)
    lowest = torch.full((len(start),), math.inf, device=start.device)
    before = lowest.clone()  # the lowest loss a window ago
    for step in range(optimiser.steps):
        if not len(rows):
            return
        loss, gradient = _evaluate(objective, search.trial, rows)
        finite = loss.isfinite() & gradient.isfinite().all(1)
        search.tell(loss, gradient)
        lowest = torch.where(finite, torch.minimum(lowest, loss), lowest)
        # Adam's next trial is lost with the gradient; a line search comes back from one.
        failed = ~finite & (isinstance(optimiser, Adam) | lowest.isinf())
        ended = failed | search.ended
        if optimiser.window and (step + 1) % optimiser.window == 0 and optimiser.tolerance > 0:
            ended |= before - lowest < optimiser.tolerance * before.abs()
            before = lowest.clone()
        if step + 1 == optimiser.steps:
            ended = torch.ones_like(ended)
        if ended.any():
            for i in ended.nonzero().flatten().tolist():
                why = f"the loss is not a number after {step} steps" if failed[i] else None
                yield Finished(int(rows[i]), search.point[i].clone(), step + 1, why)
            left = (~ended).nonzero().flatten()
            search.keep(left)
            rows, lowest, before = rows[left], lowest[left], before[left]


def in_pairs(rows: Tensor) -> Tensor:
    """The rows; a row that is alone is given twice.

    oneDNN convolves a batch of one by another algorithm than larger ones, which agree to the bit.
    The last bits would matter: a search through a network's kinks carries them to about 1 % of the
    loss.
    """
    return torch.cat([rows, rows]) if len(rows) == 1 else rows


def in_company(function: Callable[..., Tensor], *batch: Tensor) -> Tensor:
    """A function of a batch, in which a row that is alone is given twice: see `in_pairs`."""
    return function(*map(in_pairs, batch))[: len(batch[0])]


def _evaluate(objective: Objective, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        points = points.detach().requires_grad_()
        loss = in_company(objective, points, rows)
        (gradient,) = torch.autograd.grad(loss.sum(), points)  # each row's own: rows are apart
    return loss.detach(), gradient


class _AdamSearch:
    """One step an evaluation; the rate depends on the step alone."""

    def __init__(self, settings: Adam, start: Tensor) -> None:
        self.settings, self.beta2 = settings, 0.999
        self.steps = 0
        self.trial = self.point = start
        self.mean = torch.zeros_like(start)
        self.square = torch.zeros_like(start)
        self.ended = torch.zeros(len(start), dtype=torch.bool, device=start.device)

    def tell(self, _: Tensor, gradient: Tensor, /) -> None:
        self.trial = self.point = self.step(self.point, gradient)

    def step(self, point: Tensor, gradient: Tensor) -> Tensor:
        """The point − η m̂ / (√v̂ + ε), by the moments up to this gradient."""
        beta1, beta2, epsilon = self.settings.momentum, self.beta2, 1e-8
        self.mean.lerp_(gradient, 1 - beta1)
        self.square.lerp_(gradient.square(), 1 - beta2)
        root = (self.square / (1 - beta2 ** (self.steps + 1))).sqrt_().add_(epsilon)
        rate = self.settings.rate(self.steps) / (1 - beta1 ** (self.steps + 1))
        self.steps += 1
        return point.addcdiv(self.mean, root, value=-rate)

    def keep(self, rows: Tensor) -> None:
        self.mean, self.square = self.mean[rows], self.square[rows]
        self.trial = self.point = self.point[rows]
        self.ended = self.ended[rows]


class _SOAPSearch(_AdamSearch):
    """Adam's moments of turned gradients: G′ = Q_Lᵀ G Q_R for the gradient G of each tensor."""

    def __init__(self, settings: SOAP, start: Tensor, shapes: Shapes) -> None:
        super().__init__(settings, start)
        self.beta2, self.renewed_every = settings.memory, settings.renewed_every
        # A tensor (c, h, w) is a matrix of c channels by h·w places. A vector is not turned.
        self.shapes = [(shape[0], math.prod(shape[1:])) for shape in shapes]
        self.sides = [
            [_Side(start, size if min(shape) > 1 else 1) for size in shape] for shape in self.shapes
        ]

    def tell(self, _: Tensor, gradient: Tensor, /) -> None:
        # A row that is not finite is lost; LAPACK would refuse the whole batch for it.
        finite = gradient.isfinite().all(1, keepdim=True)
        gradient = torch.where(finite, gradient, torch.zeros_like(gradient))
        for (left, right), block in zip(self.sides, self._blocks(gradient), strict=True):
            left.remember(block, self.beta2)
            right.remember(block.mT, self.beta2)
        if self.steps % self.renewed_every == 0:
            mean = self._turned(self.mean, back=True)
            for side in itertools.chain(*self.sides):
                side.renew(first=self.steps == 0)
            self.mean = self._turned(mean)
        step = self.step(torch.zeros_like(gradient), self._turned(gradient))
        self.trial = self.point = self.point + self._turned(step, back=True)

    def keep(self, rows: Tensor) -> None:
        super().keep(rows)
        for side in itertools.chain(*self.sides):
            side.moment, side.basis = side.moment[rows], side.basis[rows]

    def _blocks(self, points: Tensor) -> list[Tensor]:
        lengths = [a * b for a, b in self.shapes]
        parts = torch.split(points, lengths, dim=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def _turned(self, points: Tensor, *, back: bool = False) -> Tensor:
        """Q_Lᵀ G Q_R of each block G, or the other way round."""
        turned = []
        for (left, right), block in zip(self.sides, self._blocks(points), strict=True):
            block = left.turn(block, back=back)
            turned.append(right.turn(block.mT, back=back).mT.flatten(1))
        return torch.cat(turned, 1)


class _Side:
    """One side of a block G (m, size, …): E[G Gᵀ] and its eigenvectors Q, the largest first."""

    LONGEST = 1024  # a longer side is not turned, as in the paper: Q would cost more than a step

    def __init__(self, start: Tensor, size: int) -> None:
        self.turns = 1 < size <= self.LONGEST
        self.moment = start.new_zeros(len(start), *(size, size) if self.turns else (0, 0))
        self.basis = torch.zeros_like(self.moment)

    def remember(self, block: Tensor, beta: float) -> None:
        if self.turns:
            self.moment.lerp_(block @ block.mT, 1 - beta)

    def renew(self, *, first: bool) -> None:
        """The eigenvectors at first, then one step of power iteration from those before."""
        if not self.turns:
            return
        if first:
            self.basis = torch.linalg.eigh(self.moment).eigenvectors.flip(-1)
        else:
            self.basis = torch.linalg.qr(self.moment @ self.basis).Q

    def turn(self, block: Tensor, *, back: bool) -> Tensor:
        """Qᵀ G, or back: Q G."""
        return (self.basis if back else self.basis.mT) @ block if self.turns else block


class _LBFGSSearch:
    """Every evaluation is a trial of each row's own line search, or the next one's first."""

    ARMIJO, CURVATURE = 1e-4, 0.9  # Nocedal and Wright, section 3.1
    TRIALS = 12  # of one line search

    def __init__(self, settings: LBFGS, start: Tensor) -> None:
        self.settings = settings
        n, d = start.shape
        zeros = torch.zeros(n, device=start.device)
        self.point = self.trial = start
        self.loss = torch.full_like(zeros, math.nan)  # not evaluated yet
        self.gradient = self.direction = torch.zeros_like(start)
        self.slope, self.length = zeros, zeros.clone()
        self.low, self.high = zeros.clone(), torch.full_like(zeros, math.inf)
        self.trials = zeros.clone()
        self.moves = torch.zeros(n, settings.memory, d, device=start.device)  # s, newest first
        self.changes = torch.zeros_like(self.moves)  # y: of the gradient
        self.inverse = torch.zeros(n, settings.memory, device=start.device)  # 1 / sᵀy; 0: no pair
        self.ended = torch.zeros(n, dtype=torch.bool, device=start.device)

    def tell(self, loss: Tensor, gradient: Tensor, /) -> None:
        finite = loss.isfinite() & gradient.isfinite().all(1)
        first = self.loss.isnan()
        falls = finite & (loss <= self.loss + self.ARMIJO * self.length * self.slope)
        flattens = (gradient * self.direction).sum(1) >= self.CURVATURE * self.slope
        self.trials += 1
        tired = self.trials >= self.TRIALS
        accepted = (first & finite) | (falls & (flattens | tired))
        self._narrow(loss, falls)
        # A search that found nothing: forget the history, and end where there is none.
        stuck = tired & ~accepted & ~first
        self.ended = stuck & ~self.inverse.any(1)
        self._accept(accepted.nonzero().flatten(), loss, gradient, first)
        self.inverse[stuck] = 0.0
        self._aim((accepted | stuck).nonzero().flatten())
        self.trial = torch.addcmul(self.point, self.length[:, None], self.direction)

    def _narrow(self, loss: Tensor, falls: Tensor) -> None:
        """The next step length: between a low one that is too short and a high one too long."""
        self.low = torch.where(falls, self.length, self.low)
        self.high = torch.where(falls, self.high, self.length)
        width = self.high - self.low
        # The parabola through loss and slope at 0 and the loss at a step that was too long.
        rise = loss - self.loss - self.length * self.slope
        parabola = -self.slope * self.length.square() / (2 * rise)
        inside = (parabola > self.low + 0.1 * width) & (parabola < self.low + 0.5 * width) & ~falls
        middle = torch.where(inside, parabola, self.low + 0.5 * width)
        self.length = torch.where(self.high.isinf(), 2 * self.low, middle)

    def _accept(self, rows: Tensor, loss: Tensor, gradient: Tensor, first: Tensor) -> None:
        """Move to the trial, and remember the move where the gradient grew along it."""
        move = self.trial[rows] - self.point[rows]
        change = gradient[rows] - self.gradient[rows]
        product = (move * change).sum(1)
        useful = ~first[rows] & (product > 1e-10 * (change.square().sum(1)))
        new = rows[useful]
        for memory, pair in ((self.moves, move), (self.changes, change)):
            memory[new, 1:] = memory[new, :-1].clone()
            memory[new, 0] = pair[useful]
        self.inverse[new, 1:] = self.inverse[new, :-1].clone()
        self.inverse[new, 0] = 1 / product[useful]
        self.point, self.gradient, self.loss = (
            own.index_copy(0, rows, told[rows])
            for own, told in (
                (self.point, self.trial),
                (self.gradient, gradient),
                (self.loss, loss),
            )
        )

    def _aim(self, rows: Tensor) -> None:
        """A new direction for these rows, by the two-loop recursion; a missing pair adds 0."""
        gradient = self.gradient[rows]
        moves, changes, inverse = self.moves[rows], self.changes[rows], self.inverse[rows]
        q = gradient.clone()
        weights = []
        for i in range(self.settings.memory):
            weights.append(inverse[:, i] * (moves[:, i] * q).sum(1))
            q -= weights[i][:, None] * changes[:, i]
        history = inverse[:, 0] > 0
        scale = 1 / (inverse[:, 0] * changes[:, 0].square().sum(1))  # sᵀy / yᵀy
        size = gradient.square().mean(1).sqrt()
        start = torch.where(history, scale, self.settings.first_step / size.clamp_min(1e-30))
        q *= start[:, None]
        for i in reversed(range(self.settings.memory)):
            correction = weights[i] - inverse[:, i] * (changes[:, i] * q).sum(1)
            q += correction[:, None] * moves[:, i]
        self.direction = self.direction.index_copy(0, rows, -q)
        self.slope = self.slope.index_copy(0, rows, -(gradient * q).sum(1))
        self.length = self.length.index_fill(0, rows, 1.0)
        self.low = self.low.index_fill(0, rows, 0.0)
        self.high = self.high.index_fill(0, rows, math.inf)
        self.trials = self.trials.index_fill(0, rows, 0.0)
        # Rounding can leave a direction that does not fall, and a gradient can be nothing.
        self.ended = self.ended | (self.slope >= 0)

    def keep(self, rows: Tensor) -> None:
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[rows])
