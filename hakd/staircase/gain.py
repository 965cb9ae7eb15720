"""The chance of each width to be within the limit, by the widths timed so far: it orders a search.

Several hundred hypotheses describe a curve from the pruned width on: an envelope (smooth, rough, or a staircase of n
outputs) times a comb (none, or multiples of m that differ from all other widths by a factor, faster or slower). Under
each the logarithm of the latency is a Gaussian process. Timed widths weight the hypotheses (Bayesian model averaging)
and give each width's chance. No modulus is taken as a fact: powers of two start with twice the weight of others, and
points that contradict a modulus reduce its weight.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

TILES = (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)  # of staircases; a rough envelope stands for any other
PERIODS = 48  # of combs, at most
ROUGH = (1e-5, 0.03)  # variance of a random walk over a unit of log width: a smooth envelope, a rough one
SLOPE, SLOPE_SD = 0.7, 0.4  # of log latency over log width: 0 is overhead alone, 1 is proportional
BEND_SD = 0.3  # of an envelope, over a unit of log width squared
TOOTH_SD = 0.2  # of a comb's factor, as a logarithm
TAPER_SD = 0.1  # and of its change over a unit of log width
NO_STAIRS, NO_COMB = 0.5, 0.5  # prior probabilities
NOISE = 0.25  # standard deviation of a point, in tolerances
LIKELY = 40  # hypotheses that predictions are made from


@dataclass(frozen=True)
class _Hypotheses:
    """Features of the widths from the pruned one on, each times its standard deviation; pairs make the hypotheses.

    Attributes:
        trend: (envelopes, widths), slope 1: log of the width, padded to a tile if there is one, over the pruned width.
        envelopes: (envelopes, widths, 2), slope and bend.
        combs: (combs, widths, 2), factor and taper; the first one stands for no comb.
        rough: (envelopes,), variance of the random walk.
        log_width: (widths,), over the pruned width: the time of the walk.
        log_prior: (envelopes, combs).
    """

    trend: np.ndarray
    envelopes: np.ndarray
    combs: np.ndarray
    rough: np.ndarray
    log_width: np.ndarray
    log_prior: np.ndarray


@lru_cache(maxsize=64)
def _hypotheses(width: int, full: int) -> _Hypotheses:
    widths = np.arange(width, full + 1)
    log_width = np.log(widths / width)
    tiles = np.array([*[1] * len(ROUGH), *(n for n in TILES if n < full)])
    padded = -(-widths // tiles[:, None]) * tiles[:, None]
    trend = np.log(padded / padded[:, :1])
    bend = np.broadcast_to(BEND_SD * log_width**2, trend.shape)
    periods = np.arange(1, min(PERIODS, full) + 1)
    between = (widths % periods[:, None] != 0).astype(float)  # of period 1 none is: no comb
    factor, taper = TOOTH_SD * (between - between[:, :1]), TAPER_SD * between * log_width
    prior = np.outer(_prior(tiles, NO_STAIRS, np.ones(len(tiles))), _prior(periods, NO_COMB, periods**-0.5))
    return _Hypotheses(
        trend,
        np.stack([SLOPE_SD * trend, bend], axis=2),
        np.stack([factor, taper], axis=2),
        np.array([*ROUGH, *[ROUGH[0]] * (len(tiles) - len(ROUGH))]),
        log_width,
        np.log(prior),
    )


def _prior(moduli: np.ndarray, none: float, weights: np.ndarray) -> np.ndarray:
    """Probabilities: `none` is shared by the moduli of 1, the rest goes by weight, powers of two count twice."""
    absent = moduli == 1
    weights = np.where(absent, 0.0, np.where(moduli & (moduli - 1), 1.0, 2.0) * weights)
    return np.where(absent, none / absent.sum(), (1 - none) * weights / max(weights.sum(), 1e-9)) + 1e-12


def chances(
    known: Mapping[int, float], limit_ms: float, width: int, full: int, eps: float
) -> dict[int, float]:
    """Chance of each width from `width` to `full` to be within the limit, by the timed ones (width -> ms)."""
    h = _hypotheses(width, full)
    timed = np.array([w for w in known if w > width]) - width
    values = np.log([known[w + width] / known[width] for w in timed])
    noise = (NOISE * eps) ** 2 + 1e-6
    # Deviations of the timed ratios from the trend, and their covariance under each hypothesis.
    walk = np.minimum(h.log_width[timed][:, None], h.log_width[timed])
    at = h.envelopes[:, timed]
    envelope = at @ at.transpose(0, 2, 1) + h.rough[:, None, None] * walk
    teeth = h.combs[:, timed]
    comb = teeth @ teeth.transpose(0, 2, 1)
    off = values - SLOPE * h.trend[:, timed]
    alike = noise * (1 + np.eye(len(timed)))  # the error of the pruned width is in all ratios
    covariance = envelope[:, None] + comb + alike
    e, c, weights = _likeliest(covariance, off, h.log_prior)
    # Mean and variance at all widths under the likeliest hypotheses, given the timed widths.
    cross = h.envelopes[e] @ at[e].transpose(0, 2, 1) + h.combs[c] @ teeth[c].transpose(0, 2, 1) + noise
    cross += h.rough[e][:, None, None] * np.minimum(h.log_width[:, None], h.log_width[timed])
    gains = cross @ np.linalg.inv(covariance[e, c])
    mean = SLOPE * h.trend[e] + (gains @ off[e][:, :, None])[:, :, 0]
    before = (h.envelopes[e] ** 2).sum(2) + (h.combs[c] ** 2).sum(2) + h.rough[e][:, None] * h.log_width
    variance = np.maximum(before + 2 * noise - (gains * cross).sum(2), noise)
    chance = weights @ ndtr((math.log(limit_ms / known[width]) - mean) / np.sqrt(variance))
    return dict(zip(range(width, full + 1), chance.tolist(), strict=True))


def _likeliest(
    covariance: np.ndarray, off: np.ndarray, log_prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Envelopes and combs of the likeliest hypotheses, and their probabilities."""
    root = np.linalg.cholesky(covariance)
    right = np.broadcast_to(off[:, None, :, None], (*covariance.shape[:3], 1))
    scaled = np.linalg.solve(root, right)[..., 0]
    diagonal = np.diagonal(root, axis1=-2, axis2=-1)
    evidence = log_prior - 0.5 * (scaled**2).sum(-1) - np.log(diagonal).sum(-1)
    best = np.argsort(-evidence, axis=None)[:LIKELY]
    e, c = np.unravel_index(best, evidence.shape)
    weights = np.exp(evidence[e, c] - evidence[e[0], c[0]])
    return e, c, weights / weights.sum()
