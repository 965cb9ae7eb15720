"""Networks as people write them, for the importer; each function is called without arguments."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from tests.unit.builders import shaken


def conv(
    ins: int, outs: int, kernel: int = 3, act: type[nn.Module] = nn.ReLU, **more: object
) -> nn.Sequential:
    """Convolution, batch norm, activation."""
    layer = nn.Conv2d(ins, outs, kernel, padding=kernel // 2, bias=False, **more)
    return nn.Sequential(layer, nn.BatchNorm2d(outs), act())


class Gate(nn.Module):
    """Squeeze and excitation with linear layers, and sizes read off the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(channels, 4), nn.ReLU(), nn.Linear(4, channels), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, _, _ = x.size()
        return x * self.fc(F.adaptive_avg_pool2d(x, 1).view(b, c)).view(b, c, 1, 1)


class Mixed(nn.Module):
    """A gate, a concatenation, a grouped convolution, max pooling and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 12)
        self.left, self.right, self.gate = conv(12, 10, 1), conv(12, 20), Gate(20)
        self.pool = nn.MaxPool2d(2)
        self.mixed, self.grouped, self.deep = conv(30, 16, 1), conv(16, 16, groups=4), conv(16, 14)
        layers = [nn.Linear(14 * 16, 18), nn.GELU(), nn.Dropout(0.2), nn.Linear(18, 5)]
        self.classifier = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.stem(x))
        x = self.pool(torch.cat([self.left(x), self.gate(self.right(x))], 1))
        x = self.pool(self.deep(self.grouped(self.mixed(x))))
        return self.classifier(torch.flatten(x, 1))


class Activations(nn.Module):
    """Activations as modules, as functions, and written out; the pools and paddings that exporters unfold."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 12, act=nn.SiLU)
        self.a, self.b, self.c = conv(12, 12, act=nn.Hardswish), conv(12, 12, act=nn.ReLU6), conv(12, 12)
        self.slopes, self.leaky = nn.PReLU(12), nn.LeakyReLU(0.2)
        self.padded = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(12, 9, 3, stride=2))
        self.up = nn.ConvTranspose2d(9, 8, 2, stride=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = F.avg_pool2d(self.a(x), 3, stride=2, padding=1)
        x = F.max_pool2d(self.b(x), 3, stride=2, ceil_mode=True) + F.avg_pool2d(x, 2, ceil_mode=True)
        x = self.slopes(self.c(x)) * torch.sigmoid(x)
        x = x * F.relu6(x + 3) / 6 + F.hardsigmoid(x) + F.gelu(x) + self.leaky(x)
        x = F.adaptive_avg_pool2d(self.up(self.padded(x)), (3, 2))
        return self.head(x.mean(dim=(2, 3)))


class Halves(nn.Module):
    """Channels that are cut, shuffled and put together again; layers that are called as attributes of modules are."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.graph = conv(3, 8), conv(4, 4, groups=4)
        self.parts = nn.ModuleDict({"other": conv(8, 12)})
        self.last = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.narrow(x).chunk(2, dim=1)
        x = torch.cat([a, self.graph(b)], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = self.parts["other"](x)
        return self.last(F.adaptive_avg_pool2d(x, 1).flatten(1)[:, 0:12])


class Dense(nn.Module):
    """A dense block with batch norms and activations before its convolutions, and a head without a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8 + 6 * i) for i in range(4)])
        self.convs = nn.ModuleList([nn.Conv2d(8 + 6 * i, 6, 3, padding=1) for i in range(3)])
        self.head = nn.Conv2d(26, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = [self.stem(x)]
        for norm, layer in zip(self.norms, self.convs, strict=False):
            found.append(layer(F.relu(norm(torch.cat(found, 1)))))
        x = self.head(F.relu(self.norms[3](torch.cat(found, 1))))
        return F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)


class Same(nn.Module):
    """One convolution, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice, self.head = conv(3, 8), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.twice(self.twice(self.stem(x))).mean((2, 3)))


class Decides(nn.Module):
    """Goes one of two ways, by the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        if x.mean() > 0:
            x = x * 2
        return self.head(x.mean((2, 3)))


class Two(nn.Module):
    """Takes two images."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left + right


class Batch(Decides):
    """Writes a batch into a reshape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(x).mean((2, 3)).view(2, -1, 4).view(-1, 8))


class Size(Decides):
    """Writes the size of an image into a reshape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(x).view(-1, 8, 32 * 32).mean(2))


class Sorts(Decides):
    """An op that no description has."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cumsum(self.stem(x), 1).mean((2, 3)))


class Pair(Decides):
    """Gives two tensors."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.stem(x)
        return self.head(x.mean((2, 3))), x


class Sums(Decides):
    """Two heads, added up."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).mean((2, 3))
        return self.head(x) + self.other(x)


class Pictures(Decides):
    """Gives an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.stem(x)


class Scaled(Decides):
    """Multiplies by a number that belongs to no activation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(x * 0.5).mean((2, 3)))


# --- oddities that have to be read


class Small(nn.Module):
    """A stem, and whatever a test makes of its eight channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 8), nn.Linear(8, 5)
        self.build()

    def build(self) -> None:
        """More layers."""

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.middle(self.stem(x)).mean((2, 3)))


class Named(Small):
    """Layers that are called as ops are, or as the input is."""

    def build(self) -> None:
        self.input, self.concat, self.flatten = conv(8, 4), nn.Conv2d(12, 6, 1), nn.Linear(6 * 16, 8)
        self.mul = nn.ModuleDict({"1-1": nn.Conv2d(8, 8, 1), "1_1": nn.Conv2d(8, 8, 1)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.concat(torch.cat([self.mul["1_1"](self.mul["1-1"](x)) * x, self.input(x)], 1))
        return self.head(self.flatten(F.adaptive_avg_pool2d(input=x, output_size=4).flatten(1)))


class Parent(nn.Conv2d):
    """A layer that has layers, which run first."""

    def __init__(self) -> None:
        super().__init__(8, 8, 3, padding=1)
        self.first = nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.first(x))


class Nested(Small):
    """With such a layer."""

    def build(self) -> None:
        self.parent = Parent()

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        return self.parent(x)


class Kept(Small):
    """Numbers of the network itself, optional arguments, a tuple of one, dropout of whole channels."""

    def build(self) -> None:
        self.drop = nn.Dropout2d(0.3)
        self.register_buffer("times", torch.tensor(2))

    def forward(
        self, x: torch.Tensor, *, scale: float | None = None, extra: bool = False
    ) -> tuple[torch.Tensor]:
        x = self.stem(x)
        for _ in range(int(self.times)):
            x = self.drop(x)
        return (self.head(x.mean((2, 3))),)


class Unused(Small):
    """A part of a split that nobody takes, and a large padding before a pool."""

    def build(self) -> None:
        self.head = nn.Linear(5, 5)

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        _, b, _ = x.split([1, 5, 2], 1)
        return F.avg_pool2d(F.pad(b, (2, 2, 2, 2)), 3)


class Columns(Small):
    """A value for each column, as many as channels: no bias of a layer."""

    def build(self) -> None:
        self.wide, self.columns = nn.Conv2d(8, 32, 1, bias=False), nn.Parameter(torch.randn(32))
        self.head = nn.Linear(32, 5)

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        return self.wide(x) + self.columns


class Normed(Small):
    """A head of a convolution with a batch norm and slopes behind it."""

    def build(self) -> None:
        self.last = nn.Sequential(nn.Conv2d(8, 5, 1), nn.BatchNorm2d(5), nn.PReLU(5))
        del self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.stem(x)).mean((2, 3))


class Slopes(Small):
    """Slopes that are used twice."""

    def build(self) -> None:
        self.slopes = nn.PReLU(8)

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        return self.slopes(self.slopes(x))


class Random(Small):
    """Drops values whatever one asks of it."""

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, 0.5, training=True)


class Probable(Small):
    """Ends in a softmax that is sure: probabilities of 1e-30 and less."""

    def build(self) -> None:
        with torch.no_grad():
            self.head.weight *= 1000

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(super().forward(x), 1)


class Apart(Small):
    """Gives its logits one axis too many."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, :, None]


def leaves() -> nn.Module:
    raise SystemExit("usage: nets.py [-h] --data DATA")


def fails() -> nn.Module:
    raise RuntimeError("no such depth")


def nothing() -> None:
    return None


number = 3


def __getattr__(name: str) -> Callable[[], nn.Module]:
    """torchvision's networks with statistics and affine values at which mistakes show."""
    if not hasattr(torchvision.models, name):
        raise AttributeError(name)
    return lambda: shaken(getattr(torchvision.models, name)())
