"""Splits as torch tensors on the training device, and their batches.

A split lives on the device whole (as bytes where it needs no resizing), and a batch is an index gather, a shift and a
flip there: no worker processes, no copies between devices. Order and augmentation are drawn on the CPU from (seed,
epoch), so that they are the same on every device and whatever ran before.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hakd.data.clutter import draw
from hakd.data.seeding import stream_seed
from hakd.data.stored import Augmentation, Stored, read
from hakd.ops.op import Sides, sides
from hakd.records.errors import HakdError, run_again

Batch = tuple[torch.Tensor, torch.Tensor]
Size = int | Sequence[int]  # of a square image, or (height, width), in pixels


def generator_of(stream: str, seed: int, epoch: int) -> torch.Generator:
    """A CPU generator for one purpose in one epoch of one run."""
    return torch.Generator().manual_seed(stream_seed(stream, seed, epoch))


class Split:
    """Images of one split on one device.

    Attributes:
        labels: int64 (N,).
        ids: int64 (N,), which original each image is (of).
        num_classes, classes: how many, and their names.
        channels, image: shape of an image, the latter (height, width) in pixels.
        name: of the data set; `split`: of the split.
        mean, std: (C, 1, 1), of the train split, in units of 0 to 255.
    """

    def __init__(self, stored: Stored, image: Size, device: torch.device) -> None:
        self.name, self.split, self.dataset = stored.name, stored.split, stored.dataset
        self.classes, self.num_classes = stored.classes, len(stored.classes)
        self.channels, self.image, self.device = stored.images.shape[1], sides(image), device
        self.augmentation = stored.augmentation
        self.mean = torch.tensor(stored.mean, device=device)[:, None, None]
        self.std = torch.tensor(stored.std, device=device)[:, None, None]
        self.labels, self.ids = self._on_device(stored.labels), self._on_device(stored.ids)
        self._pixels = resize(self._on_device(stored.images), image)

    def _on_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def __len__(self) -> int:
        return len(self.labels)

    def about(self) -> dict[str, list[Any]]:
        """What users of a trained network have to know: mean and deviation by channel (0 to 255), the classes."""
        means = {"mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist()}
        return {**means, "classes": list(self.classes)}

    @cached_property
    def images(self) -> torch.Tensor:
        """All images, float32 (N, C, H, W), normalised, not augmented. Batches do not need it: made at first use."""
        return self._normalise(self._epoch_pixels(0, 0, augment=False))

    def batches(
        self, batch_size: int, seed: int, epoch: int, augment: bool = True, shuffle: bool = True
    ) -> Iterator[Batch]:
        """One pass: (images float32 (n, C, H, W), labels int64 (n,)), every image of the split once.

        A last batch of one image joins the batch before it (batch normalisation cannot train on one), so a batch has
        1 to `batch_size` + 1 images, and one only where the split or `batch_size` is one. An image's shift and flip
        depend on (seed, epoch) alone, neither on `batch_size` nor on `shuffle`.
        """
        count = len(self)
        order = (
            torch.randperm(count, generator=generator_of("order", seed, epoch))
            if shuffle
            else torch.arange(count)
        )
        pixels = self._epoch_pixels(seed, epoch, augment)
        moves = (
            _Moves.drawn(self.augmentation, count, self.image, seed, epoch, self.device) if augment else None
        )
        for index in _parts(order.to(self.device), batch_size):
            images = pixels[index] if moves is None else moves.apply(pixels[index], index)
            yield self._normalise(images.float()), self.labels[index]

    def _epoch_pixels(self, seed: int, epoch: int, augment: bool) -> torch.Tensor:
        """What an epoch's batches are gathered from, (N, C, H, W) in units of 0 to 255."""
        return self._pixels

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std


class DrawnSplit(Split):
    """A train split of `cluttered-digits`: its images are drawn again in every epoch.

    Image i shows the same scan in every epoch, so `labels` and `ids` stand. Without augmentation, and as `images`, it
    is one fixed drawing.
    """

    def __init__(self, stored: Stored, image: Size, device: torch.device) -> None:
        super().__init__(stored, image, device)
        self._scans = self._on_device(stored.images)
        self._shown = torch.arange(stored.drawn_images) % len(stored.labels)
        self.labels, self.ids = self.labels[self._shown.to(device)], self.ids[self._shown.to(device)]

    def _epoch_pixels(self, seed: int, epoch: int, augment: bool) -> torch.Tensor:
        if not augment:
            return self._fixed
        return resize(draw(self._scans, self._shown, generator_of("draw", seed, epoch)), self.image)

    @cached_property
    def _fixed(self) -> torch.Tensor:
        return resize(draw(self._scans, self._shown, generator_of("fixed", 0, 0)), self.image)


@dataclass(frozen=True)
class Splits:
    """What training reads; the test split is loaded by itself, by the one rule that reads it."""

    train: Split
    validation: Split


def load(path: str | os.PathLike, input_size: Size, device: str | torch.device = "cpu") -> Split:
    """Read one npz that `prepare` wrote and put it on `device`, resized to `input_size` pixels (height, width).

    Raises:
        HakdError: the file is missing, truncated, something else or of another format version; no such device.
    """
    stored = read(path)
    image = sides(input_size)
    if min(image) < 1:
        raise HakdError(
            f"images of {image[0]} x {image[1]} pixels",
            where="config",
            key="input_size",
            remedy="Use at least 1",
        )
    try:
        target = torch.device(device)
        torch.empty(1, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        problem = f"torch cannot use the device {str(device)!r} ({str(error).splitlines()[0]})"
        remedy = "Use cpu, or an available device"
        raise HakdError(problem, where="config", key="training device", remedy=remedy) from None
    return (DrawnSplit if stored.drawn_images else Split)(stored, image, target)


def load_splits(
    train: str | os.PathLike,
    validation: str | os.PathLike,
    input_size: Size,
    device: str | torch.device = "cpu",
) -> Splits:
    """Load what training reads.

    Raises:
        HakdError: as `load`; a file holds another split, or the two were not prepared together.
    """
    found = Splits(load(train, input_size, device), load(validation, input_size, device))
    for path, split, wanted in ((train, found.train, "train"), (validation, found.validation, "validation")):
        if split.split != wanted:
            raise HakdError(
                f"holds the {split.split} split, not {wanted}",
                where=path,
                key="split",
                remedy=run_again("data"),
            )
    if found.train.dataset != found.validation.dataset:
        raise HakdError(
            f"was not prepared together with {train}",
            where=validation,
            key="dataset",
            remedy=run_again("data"),
        )
    return found


def resize(images: torch.Tensor, size: Size) -> torch.Tensor:
    """Bilinear to `size` (height, width); bytes stay bytes where nothing changes. Smoothed where pixels get fewer."""
    wanted = sides(size)
    if tuple(images.shape[-2:]) == wanted:
        return images
    shrinks = any(have > want for have, want in zip(images.shape[-2:], wanted, strict=True))
    return F.interpolate(images.float(), wanted, mode="bilinear", align_corners=False, antialias=shrinks)


def _parts(order: torch.Tensor, batch_size: int) -> list[torch.Tensor]:
    """`order` in batches; a last batch of one joins the one before."""
    if batch_size < 1:
        raise HakdError(f"{batch_size} images", where="config", key="batch_size", remedy="Use at least 1")
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1 and batch_size > 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


@dataclass(frozen=True)
class _Moves:
    """Shifts and flips of all images of an epoch."""

    down: torch.Tensor
    right: torch.Tensor
    flipped: torch.Tensor
    reflected: bool

    @classmethod
    def drawn(
        cls, policy: Augmentation, count: int, image: Sides, seed: int, epoch: int, device: torch.device
    ) -> "_Moves | None":
        """Draw them; None where the policy is to leave images as they are."""
        reach = min(round(policy.shift * min(image)), min(image) - 1)
        if not (reach or policy.flip):
            return None
        generator = generator_of("augment", seed, epoch)
        shifts = torch.randint(-reach, reach + 1, (2, count), generator=generator).to(device)
        flipped = torch.rand(count, generator=generator).to(device) < (0.5 if policy.flip else 0.0)
        return cls(shifts[0], shifts[1], flipped, policy.reflected)

    def apply(self, images: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Move the images (n, C, H, W) whose numbers are `index`: one gather by source pixel."""
        _, channels, height, width = images.shape
        down, across = (torch.arange(side, device=images.device) for side in (height, width))
        rows = down - self.down[index][:, None]
        turned = torch.where(self.flipped[index][:, None], width - 1 - across, across)
        columns = turned - self.right[index][:, None]
        source = _inside(rows, height)[:, :, None] * width + _inside(columns, width)[:, None, :]
        spread = source.flatten(1)[:, None, :].expand(-1, channels, -1)
        taken = images.flatten(2).gather(2, spread).reshape(images.shape)
        if self.reflected:
            return taken
        seen_down, seen_across = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        return taken * (seen_down[:, None, :, None] & seen_across[:, None, None, :])


def _inside(at: torch.Tensor, size: int) -> torch.Tensor:
    """Reflect positions beyond the edges, without repeating the edge: -1 is 1, `size` is `size` - 2."""
    at = at.abs()
    return torch.where(at < size, at, 2 * (size - 1) - at)
