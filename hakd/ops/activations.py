"""Activations: a table row each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hakd.ops.kernels import RELU, RELU6, Step, step
from hakd.ops.litert import ACTIVATION, Fields, LiteRtModel
from hakd.ops.ncnn import Layer, raw
from hakd.ops.op import Fused, Kind, NoForm, Placed
from hakd.ops.tensors import Axis


@dataclass(frozen=True)
class Activation(Kind):
    """An activation without weights.

    Args:
        name: of the kind.
        functional: its function in `torch.nn.functional`; `keys` of the op's attributes are passed on.
        onnx_op: its ONNX operator with `onnx_attributes`; None where it is put together (`_ONNX`).
        keys: attributes, {name: (name in ONNX, default)}.
        litert_op: its LiteRT operator; None where it is put together (`_LITERT`).
        ncnn_layer: its ncnn layer, which takes `ncnn_numbers` and the attributes as settings.
        joined: its number where an engine computes it as part of the op before it, by the engine's name.
    """

    name: str
    functional: str
    onnx_op: str | None
    onnx_attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    keys: Mapping[str, tuple[str, float]] = field(default_factory=dict, hash=False)
    litert_op: str | None = None
    ncnn_layer: str = ""
    ncnn_numbers: tuple[float, ...] = ()
    joined: Mapping[str, int] = field(default_factory=dict, hash=False)
    pointwise = True

    def value(self, at: Placed, key: str) -> float:
        """An attribute of the op, or its default."""
        return float(at.op.attributes.get(key, self.keys[key][1]))

    def _values(self, at: Placed) -> list[float]:
        return [self.value(at, key) for key in self.keys]

    def fused(self, at: Placed, engine: str) -> Fused:
        number = self.joined.get(engine)
        return () if number is None else (number, *self.ncnn_numbers, *self._values(at))

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
            given: dict[str, Any] = {
                onnx_key: self.value(at, key) for key, (onnx_key, _) in self.keys.items()
            }
            return [
                helper.make_node(self.onnx_op, list(inputs), [out], name, **self.onnx_attributes, **given)
            ]
        return _ONNX[self.name](helper.make_node, inputs[0], out, name)

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        if self.litert_op is None:
            return _LITERT[self.name](at, model, ins[0], out)
        options: Fields = {place: ("Float32", value) for place, value in enumerate(self._values(at))}
        model.operator(self.litert_op, options, ins, out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        numbers = (*self.ncnn_numbers, *self._values(at))
        return [Layer(self.ncnn_layer, dict(enumerate(numbers)))]

    def kernels(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Step]:
        own = self.fused(at, "kernels")
        if not own:
            raise NoForm(at.op)
        return [step("add", at, own)]


SIGMOID = (0.0, 255 / 256)  # the range of a sigmoid in eight bits


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


_ONNX: Mapping[str, Callable[..., list[Any]]] = {"silu": _silu, "gelu": _gelu, "relu6": _relu6}


def _litert_silu(at: Placed, model: LiteRtModel, x: int, out: int) -> None:
    gate = model.tensor(f"{at.op.output}.gate", model.shape(at.out), limits=SIGMOID)
    model.operator("LOGISTIC", {}, [x], gate)
    model.operator("MUL", {}, [x, gate], out)


def _litert_hardsigmoid(at: Placed, model: LiteRtModel, x: int, out: int) -> None:
    """min(max(x + 3, 0), 6) / 6."""
    name = at.op.output
    sum_ = model.tensor(f"{name}.sum", model.shape(at.out), limits=(0.0, 6.0))
    three, sixth = model.constant(f"{name}.three", [3.0]), model.constant(f"{name}.sixth", [1 / 6])
    model.operator("ADD", {0: ("Int8", ACTIVATION["RELU6"])}, [x, three], sum_)
    model.operator("MUL", {}, [sum_, sixth], out)


_LITERT: Mapping[str, Callable[[Placed, LiteRtModel, int, int], None]] = {
    "silu": _litert_silu,
    "hardsigmoid": _litert_hardsigmoid,
}

_SIXTH = (1 / 6, 0.5)  # ncnn's x times alpha plus beta
_RELU, _RELU6 = ACTIVATION["RELU"], ACTIVATION["RELU6"]
ACTIVATIONS = (
    Activation(
        "relu",
        "relu",
        "Relu",
        litert_op="RELU",
        ncnn_layer="ReLU",
        joined={"litert": _RELU, "ncnn": 1, "kernels": RELU},
    ),
    Activation(
        "relu6",
        "relu6",
        None,
        litert_op="RELU6",
        ncnn_layer="Clip",
        ncnn_numbers=(0.0, 6.0),
        joined={"litert": _RELU6, "ncnn": 3, "kernels": RELU6},
    ),
    Activation(
        "leaky_relu",
        "leaky_relu",
        "LeakyRelu",
        keys={"negative_slope": ("alpha", 0.01)},
        litert_op="LEAKY_RELU",
        ncnn_layer="ReLU",
        joined={"ncnn": 2},
    ),
    Activation("silu", "silu", None, ncnn_layer="Swish"),
    Activation(
        "sigmoid", "sigmoid", "Sigmoid", litert_op="LOGISTIC", ncnn_layer="Sigmoid", joined={"ncnn": 4}
    ),
    Activation(
        "hardswish",
        "hardswish",
        "HardSwish",
        litert_op="HARD_SWISH",
        ncnn_layer="HardSwish",
        ncnn_numbers=_SIXTH,
        joined={"ncnn": 6},
    ),
    Activation(
        "hardsigmoid",
        "hardsigmoid",
        "HardSigmoid",
        {"alpha": 1 / 6, "beta": 0.5},
        ncnn_layer="HardSigmoid",
        ncnn_numbers=_SIXTH,
    ),
    Activation("gelu", "gelu", None, litert_op="GELU", ncnn_layer="GELU"),
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

    def litert(self, at: Placed, model: LiteRtModel, ins: Sequence[int], out: int, fused: Fused) -> None:
        flat = model.weights[f"{at.op.name}.weight"]
        slopes = model.constant(f"{at.op.name}.weight", flat[None, None] if at.out.size else flat)
        model.operator("PRELU", {}, [ins[0], slopes], out)

    def ncnn(self, at: Placed, weights: Mapping[str, Any], fused: Fused) -> list[Layer]:
        return [Layer("PReLU", {0: at.out.shape[0]}, raw(weights[f"{at.op.name}.weight"]))]
