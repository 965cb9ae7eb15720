"""Activations: a table row each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hakd.ops.op import Kind, Placed
from hakd.ops.tensors import Axis


@dataclass(frozen=True)
class Activation(Kind):
    """An activation without weights.

    Args:
        name: of the kind.
        functional: its function in `torch.nn.functional`; `keys` of the op's attributes are passed on.
        onnx_op: its ONNX operator with `onnx_attributes`; None where it is put together (`_COMPOSED`).
        keys: attributes, {name: (name in ONNX, default)}.
    """

    name: str
    functional: str
    onnx_op: str | None
    onnx_attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    keys: Mapping[str, tuple[str, float]] = field(default_factory=dict, hash=False)
    pointwise = True

    def value(self, at: Placed, key: str) -> float:
        """An attribute of the op, or its default."""
        return float(at.op.attributes.get(key, self.keys[key][1]))

    def torch(self, at: Placed) -> Callable[..., Any]:
        import torch.nn.functional as F

        function = getattr(F, self.functional)
        if not self.keys:
            return function
        given = {key: self.value(at, key) for key in self.keys}
        return lambda x: function(x, **given)

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        from onnx import helper

        out, name = at.op.output, at.op.name
        if self.onnx_op is not None:
            given: dict[str, Any] = dict(self.onnx_attributes)
            given |= {onnx_key: self.value(at, key) for key, (onnx_key, _) in self.keys.items()}
            return [helper.make_node(self.onnx_op, list(inputs), [out], name, **given)]
        return _COMPOSED[self.name](helper.make_node, inputs[0], out, name)


def _silu(node: Callable[..., Any], x: str, out: str, name: str) -> list[Any]:
    gate = f"{out}.gate"
    return [node("Sigmoid", [x], [gate], f"{name}.gate"), node("Mul", [x, gate], [out], name)]


def _gelu(node: Callable[..., Any], x: str, out: str, name: str) -> list[Any]:
    """x / 2 (1 + erf(x / sqrt 2)), for opsets below 20."""

    def number(value: float, key: str) -> Any:
        return node("Constant", [], [f"{out}.{key}"], f"{name}.{key}", value_float=value)

    return [
        number(2**-0.5, "root"),
        number(1.0, "one"),
        number(0.5, "half"),
        node("Mul", [x, f"{out}.root"], [f"{out}.scaled"], f"{name}.scaled"),
        node("Erf", [f"{out}.scaled"], [f"{out}.erf"], f"{name}.erf"),
        node("Add", [f"{out}.erf", f"{out}.one"], [f"{out}.sum"], f"{name}.sum"),
        node("Mul", [x, f"{out}.sum"], [f"{out}.double"], f"{name}.double"),
        node("Mul", [f"{out}.double", f"{out}.half"], [out], name),
    ]


def _relu6(node: Callable[..., Any], x: str, out: str, name: str) -> list[Any]:
    low, high = f"{out}.low", f"{out}.high"
    return [
        node("Constant", [], [low], f"{name}.low", value_float=0.0),
        node("Constant", [], [high], f"{name}.high", value_float=6.0),
        node("Clip", [x, low, high], [out], name),
    ]


_COMPOSED: Mapping[str, Callable[..., list[Any]]] = {"silu": _silu, "gelu": _gelu, "relu6": _relu6}

ACTIVATIONS = (
    Activation("relu", "relu", "Relu"),
    Activation("relu6", "relu6", None),
    Activation("leaky_relu", "leaky_relu", "LeakyRelu", keys={"negative_slope": ("alpha", 0.01)}),
    Activation("silu", "silu", None),
    Activation("sigmoid", "sigmoid", "Sigmoid"),
    Activation("hardswish", "hardswish", "HardSwish"),
    Activation("hardsigmoid", "hardsigmoid", "HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    Activation("gelu", "gelu", None),
)


class PRelu(Kind):
    """Leaky rectifier with a learned slope for each channel."""

    name = "prelu"
    pointwise = True

    def axes(self, at: Placed) -> dict[str, tuple[Axis, ...]]:
        return {"weight": (at.out.channels,)}

    def torch(self, at: Placed) -> Callable[..., Any]:
        from torch import nn

        return nn.PReLU(at.out.shape[0])

    def onnx(self, at: Placed, inputs: Sequence[str], weights: Sequence[str]) -> list[Any]:
        """ONNX lines shapes up at their ends, so the slopes get axes of one pixel."""
        from onnx import helper

        slopes, shape = f"{at.op.output}.slopes", f"{at.op.output}.shape"
        return [
            helper.make_node("Constant", [], [shape], shape, value_ints=[-1] + [1] * len(at.out.size)),
            helper.make_node("Reshape", [weights[0], shape], [slopes], slopes),
            helper.make_node("PRelu", [inputs[0], slopes], [at.op.output], at.op.name),
        ]
