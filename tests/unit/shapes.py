"""Latency curves like those of real engines, at widths of choice."""

from collections.abc import Callable, Iterable

import numpy as np
from hypothesis import strategies as st

from hakd.staircase.curve import Curve, make_curve, tolerance
from hakd.staircase.estimate import Estimate

Cost = Callable[[int], float]


def staircase(plateau: int = 16, step: float = 0.04, base: float = 0.1) -> Cost:
    """onnxruntime over output channels: flat, then up after every multiple of `plateau`."""
    return lambda w: base + step * -(-w // plateau)


def comb(modulus: int = 4, slow: float = 1.4, slope: float = 0.0012) -> Cost:
    """onnxruntime over input channels: only multiples are fast."""
    return lambda w: (0.002 + slope * w) * (1 if w % modulus == 0 else slow)


def sawtooth(slope: float = 0.001) -> Cost:
    """ncnn: a rise inside every 16 that falls back at the multiple, less so at 8 and 4."""
    return lambda w: 0.01 + slope * w + 0.004 * (w % 4) + 0.003 * (w % 8) + 0.002 * (w % 16)


def hump(left: int = 49, right: int = 64) -> Cost:
    """OpenVINO: a staircase with a stretch that is slower than what follows."""
    stairs = staircase()
    return lambda w: stairs(w) * (1.5 if left <= w <= right else 1.0)


def slope(per_channel: float = 0.001, base: float = 0.01) -> Cost:
    """LiteRT over input channels: linear."""
    return lambda w: base + per_channel * w


def flat(latency_ms: float = 0.3) -> Cost:
    """Overhead alone."""
    return lambda w: latency_ms


def curve(latency, residual: float | None = 0.005, widths=None) -> Curve:
    widths = tuple(widths or range(1, len(latency) + 1))
    none = (None,) * len(widths)
    return Curve(
        "g", 0.5, {}, widths, tuple(latency), none, none, tuple(latency), residual, tolerance(residual)
    )


def sampled(
    cost: Cost, widths: Iterable[int], residual: float | None = 0.002, noise: float = 0.0, seed: int = 0
) -> Curve:
    """A curve of a cost function at some widths; `noise` is the relative standard deviation of a point.

    Its intervals are as wide as the residual p95 says: 95 % of the ratios of two widths are off by that or less.
    """
    rng = np.random.default_rng(seed)
    half = None if residual is None else float(np.exp(residual / 2**0.5))
    points = {}
    for width in sorted(set(widths)):
        value = cost(width) * float(np.exp(noise * rng.standard_normal()))
        low, high = (None, None) if half is None else (value / half, value * half)
        points[width] = Estimate(f"k{width}", value, low, high, value * 0.97, value * 1.02, 20, 0, 2)
    return make_curve("g", 0.5, {"in": 32}, points, residual)


costs = st.one_of(
    st.builds(staircase, st.sampled_from([4, 8, 16, 32]), st.floats(0.01, 0.1), st.floats(0.01, 0.5)),
    st.builds(comb, st.sampled_from([2, 4, 8]), st.floats(1.05, 1.6)),
    st.builds(sawtooth, st.floats(0.0005, 0.004)),
    st.builds(hump, st.integers(20, 49), st.integers(50, 90)),
    st.builds(slope, st.floats(0.0, 0.01), st.floats(0.01, 0.5)),
)


@st.composite
def curves(
    draw: st.DrawFn, residuals: st.SearchStrategy[float | None] | None = None
) -> tuple[Curve, int, int]:
    """(curve, pruned width, full width): any shape, noisy, at any set of widths."""
    full = draw(st.integers(2, 160))
    width = draw(st.integers(1, full))
    others = draw(st.sets(st.integers(1, full + 20), max_size=40))
    residual = draw(st.floats(0, 0.015) if residuals is None else residuals)
    noise = draw(st.sampled_from([0.0, 0.003]))
    curve = sampled(draw(costs), {width, *others}, residual, noise, draw(st.integers(0, 99)))
    return curve, width, full
