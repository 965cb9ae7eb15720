"""The Gaussian process behind the few-shot prior, and how its shared parts are learned from other devices.

Deep kernel transfer (Patacchiola et al., arXiv 1910.05199, section 3): a task is a device; the marginal likelihood of
all tasks is maximised over what they share, and a new device is a conditioned process, with nothing fitted to it.
Shared are the mean, the scales of every part of the kernel, and a small network whose outputs are the inputs of a
smooth kernel. The log latency of curve c of a device at features x is

    offset_c + m.x + u.x + v_c.x + r_c(net(x))      m learned; u (the device's) and v_c, r_c, offset_c Gaussian

Torch and gpytorch are loaded with this module: only `hakd.transfer.prior` imports it, when a prior is needed.
"""

import importlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Lasso
from torch import Tensor, nn

from hakd.records.errors import HakdError

OFFSET_VARIANCE = 9.0  # of a curve's level, in log latency: nothing is known about it in advance
HIDDEN, LATENT = 32, 4
LEARNING_RATE = 0.05
WEIGHTS_RATE = 0.0005  # of the mean's weights, whose start is close
SPARSE = 0.01  # penalty of a standard deviation of 1, in log likelihood a point: most moduli have no effect
RIDGE = 1e-3
START_PENALTY = 2e-4
LEAST_SPREAD = 0.003  # of a weight between devices
OWN_SHARE = 0.3  # of it between the curves of a device, to start with
FILL_NOISE = 1e6  # variance of the points that fill up shorter tasks: they have no weight


def _extra() -> Any:
    """gpytorch, or an error that says how to install it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's older interfaces, which gpytorch still uses
            return importlib.import_module("gpytorch")
    except ImportError as error:
        remedy = "Install the optional extra: pip install 'hakd[transfer]'"
        raise HakdError(f"needs gpytorch ({error})", key="--prior", remedy=remedy) from None


gpytorch = _extra()


@dataclass(frozen=True)
class Task:
    """Timed points of one device.

    Attributes:
        design: (n, features), standardised.
        curve: (n,) which of the device's curves a point is of.
        log_ms: (n,) centred per curve.
        noise: (n,) variance of each.
    """

    design: np.ndarray
    curve: np.ndarray
    log_ms: np.ndarray
    noise: np.ndarray

    @property
    def inputs(self) -> Tensor:
        """Design and curve in one array, as the kernel reads them."""
        return torch.from_numpy(np.column_stack([self.design, self.curve]).astype(float))


class DeviceKernel(gpytorch.kernels.Kernel):  # type: ignore[name-defined]
    """Covariance of two points of one device; the last input is the number of the curve.

    The network sees the last `smooth` columns only: its part is smooth, the linear parts make the steps.
    """

    def __init__(self, columns: int, smooth: int) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.full((columns,), -3.0, dtype=torch.double))
        self.own = nn.Parameter(torch.full((columns,), -4.0, dtype=torch.double))
        self.rest = nn.Parameter(torch.tensor(-4.5, dtype=torch.double))
        self.smooth = smooth
        self.net = nn.Sequential(nn.Linear(smooth, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, LATENT)).double()

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: Any) -> Tensor:
        """Covariances of (..., n, columns + 1) and (..., m, columns + 1): (..., n, m), or their diagonal."""
        a, b = x1[..., :-1], x2[..., :-1]
        if diag:
            own = ((a * b) * torch.exp(2 * self.own)).sum(-1) + torch.exp(2 * self.rest) + OFFSET_VARIANCE
            return ((a * b) * torch.exp(2 * self.shared)).sum(-1) + own
        shared = (a * torch.exp(2 * self.shared)) @ b.transpose(-1, -2)
        own = (a * torch.exp(2 * self.own)) @ b.transpose(-1, -2)
        u, v = self.net(a[..., -self.smooth :]), self.net(b[..., -self.smooth :])
        distance = (
            u.square().sum(-1, keepdim=True) + v.square().sum(-1)[..., None, :] - 2 * u @ v.transpose(-1, -2)
        ).clamp_min(0)
        own = own + torch.exp(2 * self.rest - distance / 2) + OFFSET_VARIANCE
        same = x1[..., -1:] == x2[..., -1:].transpose(-1, -2)
        return shared + own * same


class Model(gpytorch.models.ExactGP):  # type: ignore[name-defined]
    """The process over a batch of tasks."""

    def __init__(self, inputs: Tensor, targets: Tensor, likelihood: Any, smooth: int) -> None:
        super().__init__(inputs, targets, likelihood)
        self.kernel = DeviceKernel(inputs.shape[-1] - 1, smooth)
        self.weights = nn.Parameter(torch.zeros(inputs.shape[-1] - 1, dtype=torch.double))

    def forward(self, x: Tensor) -> Any:
        """Prior of the points of a batch of tasks."""
        return gpytorch.distributions.MultivariateNormal(x[..., :-1] @ self.weights, self.kernel(x))


@dataclass(frozen=True)
class Learned:
    """The parts that devices share: `weights` of the mean (columns,), and the kernel."""

    weights: np.ndarray
    kernel: DeviceKernel

    def covariance(self, one: Task, other: Task) -> np.ndarray:
        """Prior covariance of two sets of points of one device."""
        with torch.no_grad():
            return self.kernel.forward(one.inputs, other.inputs).numpy()


def learn(tasks: Sequence[Task], smooth: int, seed: int, steps: int) -> Learned:
    """Fit mean and kernel to the tables of other devices; the same seed gives the same fit on the same machine.

    Args:
        tasks: one for each device.
        smooth: the number of the design's last columns, which have no steps.
        seed: of the network's start.
        steps: of the optimiser.
    """
    longest = max(len(task.log_ms) for task in tasks)
    inputs = torch.stack([_filled(task.inputs, longest) for task in tasks])
    targets = torch.stack([_filled(torch.from_numpy(task.log_ms)[:, None], longest)[:, 0] for task in tasks])
    noise = torch.full(targets.shape, FILL_NOISE, dtype=torch.double)
    for i, task in enumerate(tasks):
        noise[i, : len(task.noise)] = torch.from_numpy(task.noise)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(noise)
        model = Model(inputs, targets, likelihood, smooth).train()
        weights, spread = _start(tasks, smooth)
        model.weights.data = torch.from_numpy(weights)
        model.kernel.shared.data = torch.from_numpy(np.log(np.maximum(spread, LEAST_SPREAD)))
        model.kernel.own.data = model.kernel.shared.data + math.log(OWN_SHARE)
        _maximise(model, gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model), steps)
    return Learned(model.weights.detach().numpy(), model.kernel.eval())


def _start(tasks: Sequence[Task], smooth: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread over devices of the weights of sparse fits to each, in which a step never makes a block faster.

    Features of several moduli are similar; a dense start would divide a step among them and predict steps at all.
    """
    fits = []
    for task in tasks:
        _, place = np.unique(task.curve, return_inverse=True)
        count = np.bincount(place)[:, None]
        sums = np.zeros((len(count), task.design.shape[1]))
        np.add.at(sums, place, task.design)
        centred = task.design - (sums / count)[place]
        both = np.hstack([centred, -centred[:, -smooth:]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a start need not have converged
            fit = Lasso(START_PENALTY, positive=True, fit_intercept=False, max_iter=3000).fit(
                both, task.log_ms
            )
        weights = fit.coef_[: task.design.shape[1]].copy()
        weights[-smooth:] -= fit.coef_[-smooth:]
        fits.append(weights)
    return np.mean(fits, axis=0), np.std(fits, axis=0)


def _filled(values: Tensor, rows: int) -> Tensor:
    """The values with rows of zeros below, each of a separate curve (the last column), up to `rows` rows."""
    missing = rows - len(values)
    fill = torch.zeros(missing, values.shape[1], dtype=torch.double)
    fill[:, -1] = -1 - torch.arange(missing, dtype=torch.double) if values.shape[1] > 1 else 0
    return torch.cat([values, fill])


def _maximise(model: Model, likelihood: Any, steps: int) -> None:
    inputs, targets = model.train_inputs[0], model.train_targets
    groups = [{"params": [model.weights], "lr": WEIGHTS_RATE}, {"params": model.kernel.parameters()}]
    optimiser = torch.optim.Adam(groups, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with gpytorch.settings.max_cholesky_size(10**5):
        for _ in range(steps):
            optimiser.zero_grad()
            scales = model.kernel.shared.exp().sum() + model.kernel.own.exp().sum()
            loss = -likelihood(model(inputs), targets).sum()
            loss = loss + RIDGE * model.weights.square().sum() + SPARSE * scales
            loss.backward()
            optimiser.step()
            schedule.step()
