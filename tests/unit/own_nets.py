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
