"""Draws cluttered digits: a real scan placed by a random affine transform among fragments of other scans and strokes.

The idea is cluttered MNIST (Mnih et al., Recurrent Models of Visual Attention, NeurIPS 2014): plain digits saturate,
so that they cannot distinguish methods. Here the digit is also rotated, sheared and scaled, the fragments are rotated
pieces of other scans at the same scale, and bent strokes and noise are added. `benchmarks/cluttered_difficulty.py`
measures how hard it is.

All randomness comes from a CPU generator, so that a seed means the same images on every device (up to one grey level,
where rounding falls differently).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

CANVAS = 32
"""Height and width of a drawn image, in pixels."""

_CHUNK = 512  # images drawn together: keeps temporary tensors in the processor's cache and small on a GPU


@dataclass(frozen=True)
class Difficulty:
    """How cluttered the images are. Lengths in pixels of the 32 x 32 canvas, angles in degrees, intensities 0 to 1."""

    digit_size: tuple[float, float] = (16.0, 24.0)
    stretch: float = 0.15
    rotation: float = 25.0
    shear: float = 0.25
    digit_intensity: tuple[float, float] = (0.7, 1.0)
    fragments: int = 3
    fragment_size: int = 10
    fragment_intensity: tuple[float, float] = (0.3, 0.8)
    strokes: int = 2
    stroke_length: tuple[float, float] = (5.0, 10.0)
    stroke_width: tuple[float, float] = (1.2, 2.4)
    noise: float = 0.08


DIFFICULTY = Difficulty()


def draw(
    scans: torch.Tensor,
    sources: torch.Tensor,
    generator: torch.Generator,
    difficulty: Difficulty = DIFFICULTY,
) -> torch.Tensor:
    """Draw one image for every entry of `sources`.

    Args:
        scans: uint8 (n, 1, h, w), the original scans; fragments are cut from these and no others.
        sources: int64 (N,), which scan each image shows.
        generator: a CPU generator; N images advance it by an amount that depends on N alone.
        difficulty: how cluttered the images are.

    Returns:
        uint8 (N, 1, 32, 32) on the device of `scans`.
    """
    originals = scans.float() / 255
    chunks = [_draw_chunk(originals, part, generator, difficulty) for part in sources.split(_CHUNK)]
    return torch.cat(chunks) if chunks else scans.new_zeros((0, 1, CANVAS, CANVAS))


def _draw_chunk(
    originals: torch.Tensor, sources: torch.Tensor, generator: torch.Generator, hard: Difficulty
) -> torch.Tensor:
    device = originals.device
    canvas = _digits(originals, sources.to(device), generator, hard)
    patches = torch.cat(
        [
            _fragments(originals, len(sources), generator, hard),
            _strokes(device, len(sources), generator, hard),
        ],
        1,
    )
    canvas = torch.maximum(canvas, _scatter(patches, generator))
    canvas += hard.noise * torch.randn(canvas.shape, generator=generator).to(device)
    return canvas.clamp_(0, 1).mul_(255).round_().to(torch.uint8)[:, None]


def _uniform(bounds: tuple[float, float], shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    low, high = bounds
    return low + (high - low) * torch.rand(shape, generator=generator)


def _digits(
    originals: torch.Tensor, sources: torch.Tensor, generator: torch.Generator, hard: Difficulty
) -> torch.Tensor:
    """The digits alone, (N, 32, 32): each lies wholly on the canvas but for the corners that rotation turns out."""
    count = len(sources)
    size = _uniform(hard.digit_size, (count,), generator)
    aspect = 1 + _uniform((-hard.stretch, hard.stretch), (count,), generator)
    angle = torch.deg2rad(_uniform((-hard.rotation, hard.rotation), (count,), generator))
    shear = _uniform((-hard.shear, hard.shear), (count,), generator)
    room = (CANVAS - size).clamp(min=0) / CANVAS  # of the centre, in the canvas' units of -1 to 1
    centre = _uniform((-1, 1), (count, 2), generator) * room[:, None]
    intensity = _uniform(hard.digit_intensity, (count,), generator)
    theta = _inverse_affine(CANVAS / size, aspect, angle, shear)
    theta = torch.cat([theta, -theta @ centre[:, :, None]], 2)
    grid = F.affine_grid(theta.to(originals.device), [count, 1, CANVAS, CANVAS], align_corners=False)
    placed = F.grid_sample(originals[sources], grid, align_corners=False)[:, 0]
    return placed * intensity.to(originals.device)[:, None, None]


def _inverse_affine(
    scale: torch.Tensor, aspect: torch.Tensor, angle: torch.Tensor, shear: torch.Tensor
) -> torch.Tensor:
    """Linear maps (N, 2, 2) from canvas offsets to scan offsets: what `affine_grid` wants."""
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    top = torch.stack([(cos + shear * sin) / aspect, (-sin + shear * cos) / aspect], 1)
    return torch.stack([top, torch.stack([sin * aspect, cos * aspect], 1)], 1)


def _fragments(
    originals: torch.Tensor, count: int, generator: torch.Generator, hard: Difficulty
) -> torch.Tensor:
    """Patches (N, fragments, p, p) cut from random scans, turned any way, at the digits' own scale."""
    total, side = count * hard.fragments, hard.fragment_size
    if total == 0:
        return originals.new_zeros((count, 0, side, side))
    which = torch.randint(len(originals), (total,), generator=generator)
    scale = side / _uniform(hard.digit_size, (total,), generator)
    angle = _uniform((-math.pi, math.pi), (total,), generator)
    centre = _uniform((-0.6, 0.6), (total, 2), generator)
    intensity = _uniform(hard.fragment_intensity, (total,), generator)
    ones, zeros = torch.ones(total), torch.zeros(total)
    theta = torch.cat([_inverse_affine(scale, ones, angle, zeros), centre[:, :, None]], 2)
    grid = F.affine_grid(theta.to(originals.device), [total, 1, side, side], align_corners=False)
    cut = F.grid_sample(originals[which.to(originals.device)], grid, align_corners=False)[:, 0]
    cut = cut * _soft_window(side).to(originals.device) * intensity.to(originals.device)[:, None, None]
    return cut.view(count, hard.fragments, side, side)


def _soft_window(side: int) -> torch.Tensor:
    """1 inside a disc and 0 in the corners (p, p): a straight cut would set fragments apart from digits."""
    at = torch.arange(side) - (side - 1) / 2
    return ((side / 2 - torch.hypot(at[:, None], at[None, :])) / 2).clamp(0, 1)


def _strokes(device: torch.device, count: int, generator: torch.Generator, hard: Difficulty) -> torch.Tensor:
    """Patches (N, strokes, p, p) with one bent stroke each: a parabola turned any way, soft at its edges."""
    total, side = count * hard.strokes, hard.fragment_size
    angle = _uniform((-math.pi, math.pi), (total, 1, 1), generator).to(device)
    half = _uniform(hard.stroke_length, (total, 1, 1), generator).to(device) / 2
    bend = _uniform((-0.15, 0.15), (total, 1, 1), generator).to(device)
    radius = _uniform(hard.stroke_width, (total, 1, 1), generator).to(device) / 2
    intensity = _uniform(hard.fragment_intensity, (total, 1, 1), generator).to(device)
    at = torch.arange(side, device=device) - (side - 1) / 2
    y, x = at[:, None], at[None, :]
    along = x * torch.cos(angle) + y * torch.sin(angle)
    across = y * torch.cos(angle) - x * torch.sin(angle) + bend * (along**2 - half**2 / 2)
    beyond = (along.abs() - half).clamp(min=0)
    ink = (radius + 0.5 - torch.hypot(across, beyond)).clamp(0, 1) * intensity
    return ink.view(count, hard.strokes, side, side)


def _scatter(patches: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Lay patches (N, K, p, p) at random places of the canvas, half out of it at most; the brighter pixel wins."""
    count, each, side, _ = patches.shape
    wide = CANVAS + side  # a margin of half a patch all round, cut off at the end
    corner = torch.randint(CANVAS + 1, (2, count, each, 1, 1), generator=generator).to(patches.device)
    at = torch.arange(side, device=patches.device)
    place = (corner[0] + at[:, None]) * wide + corner[1] + at[None, :]
    canvas = patches.new_zeros((count, wide * wide))
    canvas.scatter_reduce_(1, place.view(count, -1), patches.reshape(count, -1), "amax")
    start = side // 2
    return canvas.view(count, wide, wide)[:, start : start + CANVAS, start : start + CANVAS]
