"""All op kinds by name."""

from collections.abc import Mapping

from hakd.ops.activations import ACTIVATIONS, PRelu
from hakd.ops.batch_norm import BatchNorm
from hakd.ops.channels import Concat, Dropout, Flatten, Shuffle, Split, Unflatten
from hakd.ops.conv import Conv, ConvTranspose
from hakd.ops.elementwise import Add, Mul
from hakd.ops.linear import Linear
from hakd.ops.op import Kind
from hakd.ops.padding import Pad
from hakd.ops.pools import AdaptiveAvgPool, AvgPool, GlobalAvgPool, MaxPool

_ALL: tuple[Kind, ...] = (
    Conv(),
    ConvTranspose(),
    Linear(),
    BatchNorm(),
    *ACTIVATIONS,
    PRelu(),
    MaxPool(),
    AvgPool(),
    GlobalAvgPool(),
    AdaptiveAvgPool(),
    Add(),
    Mul(),
    Concat(),
    Split(),
    Shuffle(),
    Flatten(),
    Unflatten(),
    Pad(),
    Dropout(),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
