"""MobileNet v1 and WRN in plain torch, written by hand as usual, and the loops that one writes around them.

What the project's own network, training loop and pruning are compared with. Each network also takes masks: factors by
width group, one for each image and channel, behind every rectifier.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import nn

Masks = Mapping[str, torch.Tensor]


def masked(x: torch.Tensor, group: str, masks: Masks | None) -> torch.Tensor:
    """Activations (N, C, H, W) times the mask (N, C) of their group."""
    return x if masks is None else x * masks[group][:, :, None, None]


class Separable(nn.Module):
    """Depthwise and pointwise convolution, each with norm and rectifier."""

    def __init__(self, ins: int, out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(ins, ins, 3, stride, 1, groups=ins, bias=False)
        self.norm1 = nn.BatchNorm2d(ins)
        self.pointwise = nn.Conv2d(ins, out, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)

    def forward(self, x: torch.Tensor, before: str, name: str, masks: Masks | None) -> torch.Tensor:
        """Masks of the group `before` come after the depthwise part, those of `name` at the end."""
        x = masked(F.relu(self.norm1(self.depthwise(x))), before, masks)
        return masked(F.relu(self.norm2(self.pointwise(x))), name, masks)


class MobileNet(nn.Module):
    """MobileNet v1 for small images."""

    def __init__(self, channels: int, classes: int, multiplier: float = 0.25) -> None:
        super().__init__()
        outputs = [int(w * multiplier) for w in (64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)]
        width = int(32 * multiplier)
        self.stem, self.norm = nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        strides = [2 if i in (2, 4, 6, 12) else 1 for i in range(1, 14)]
        ins = [width, *outputs]
        self.blocks = nn.ModuleList(Separable(*sizes) for sizes in zip(ins, outputs, strides, strict=False))
        self.linear = nn.Linear(outputs[-1], classes)

    def forward(self, x: torch.Tensor, masks: Masks | None = None) -> torch.Tensor:
        """Logits."""
        x, group = masked(F.relu(self.norm(self.stem(x))), "stem", masks), "stem"
        for i, block in enumerate(self.blocks, start=1):
            x, group = block(x, group, f"block{i}", masks), f"block{i}"
        return self.linear(x.mean(dim=(2, 3)))


class PreActivation(nn.Module):
    """Norm, rectifier, 3 x 3, twice, and a shortcut."""

    def __init__(self, ins: int, out: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(ins), nn.Conv2d(ins, out, 3, stride, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(out), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(ins, out, 1, stride, bias=False) if ins != out or stride > 1 else None

    def forward(self, x: torch.Tensor, before: str, name: str, masks: Masks | None) -> torch.Tensor:
        """Masks of the group `before` come after the first rectifier, those of `name` after the second."""
        y = masked(F.relu(self.norm1(x)), before, masks)
        straight = x if self.shortcut is None else self.shortcut(y)
        y = masked(F.relu(self.norm2(self.conv1(y))), name, masks)
        return straight + self.conv2(y)


class WideResNet(nn.Module):
    """WRN-40-2."""

    def __init__(self, channels: int, classes: int, depth: int = 40, multiplier: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.blocks, self.groups, ins, before = nn.ModuleList(), [], 16, "stem"
        for stage, base in enumerate((16, 32, 64), start=1):
            for i in range(1, (depth - 4) // 6 + 1):
                out = base * multiplier
                self.blocks.append(PreActivation(ins, out, 2 if i == 1 and stage > 1 else 1))
                self.groups.append((before, f"stage{stage}.block{i}"))
                ins, before = out, f"stage{stage}"
        self.norm, self.linear = nn.BatchNorm2d(ins), nn.Linear(ins, classes)

    def forward(self, x: torch.Tensor, masks: Masks | None = None) -> torch.Tensor:
        """Logits."""
        x = self.stem(x)
        for block, (before, name) in zip(self.blocks, self.groups, strict=True):
            x = block(x, before, name, masks)
        x = masked(F.relu(self.norm(x)), "stage3", masks)
        return self.linear(x.mean(dim=(2, 3)))


# By the name that the measurements go by: this project's settings, and the plain network.
NETWORKS: dict[str, tuple[dict, type[nn.Module]]] = {
    "mobilenet": ({"family": "mobilenet", "multiplier": 0.25}, MobileNet),
    "wrn": ({"family": "wrn", "depth": 40, "multiplier": 2.0}, WideResNet),
}


def with_weights_of(plain: nn.Module, own: nn.Module) -> nn.Module:
    """The plain network with the weights of this project's, which come in the same order, shortcuts apart."""
    taken, named = own.state_dict(), plain.state_dict()
    for shortcuts in (True, False):
        names, values = (
            [name for name in state if ("shortcut" in name) == shortcuts] for state in (named, taken)
        )
        named |= {name: taken[value] for name, value in zip(names, values, strict=True)}
    plain.load_state_dict(named)
    return plain


def augmented(images: torch.Tensor, reach: int = 4) -> torch.Tensor:
    """A batch padded by reflection, cropped at random and flipped, as usual: a loop over the shifts."""
    count, _, height, width = images.shape
    padded = F.pad(images, (reach,) * 4, mode="reflect")
    shifts = torch.randint(0, 2 * reach + 1, (count, 2), device=images.device)
    made = torch.empty_like(images)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            here = (shifts[:, 0] == down) & (shifts[:, 1] == right)
            made[here] = padded[here, :, down : down + height, right : right + width]
    flipped = torch.rand(count, device=images.device) < 0.5
    return torch.where(flipped[:, None, None, None], made.flip(-1), made)


def side_by_side(
    runs: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each run in each round, after one round that warms up; every other round in reverse order.

    On the CPU they are CPU seconds of this process, which other work on the machine disturbs least; on CUDA seconds
    until the device has finished.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name in list(runs)[:: -1 if turn % 2 else 1]:
            seconds = clock(device)
            runs[name]()
            if turn:
                found[name].append(clock(device) - seconds)
            else:
                clock(device)
    return found


def clock(device: torch.device) -> float:
    """Seconds, see `side_by_side`."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def ratio(found: Mapping[str, list[float]], one: str, other: str) -> str:
    """Seconds of one run as a multiple of another's: the median of the rounds, the lowest and the highest."""
    ratios = [a / b for a, b in zip(found[one], found[other], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def run(
    measure: Callable[[str, torch.device, int], None], about: str | None, rounds: int, skipped: str
) -> None:
    """The command line: measure each network, side by side. `skipped`: what is compared on CUDA alone."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "not run: torch finds no CUDA device here\n")
    if arguments.device == "cpu":
        torch.set_num_threads(1)
        print(f"not run without CUDA: {skipped}")
    for name in arguments.networks:
        measure(name, torch.device(arguments.device), arguments.rounds)
