"""Layers and pools of an ONNX graph, written as rows, with windows, paddings and biases in one op each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from hakd.importing.kinds import attribute
from hakd.importing.writing import NotDescribed, RowWriter
from hakd.ops.batch_norm import EPSILON
from hakd.ops.op import Op, Placed, Sides, TooSmall, windowed
from hakd.ops.pools import adaptive_means
from hakd.ops.tensors import Tensor
from hakd.ops.windows import beyond

_AFFINE = ("Add", "Div", "Mul", "Sub")
_DEFAULT = {"stride": (1, 1), "dilation": (1, 1), "padding": (0, 0)}


class LayerReader(RowWriter):
    """A method for each op: it writes its row and weights, or raises `NotDescribed`."""

    def _window(self, node: onnx.NodeProto) -> tuple[dict[str, Sides], tuple[int, ...]]:
        """Kernel, stride and dilation of a node, and its padding: above, on the left, below, on the right."""
        kernel = attribute(node, "kernel_shape", None) or list(self.weight(node, 1).shape[2:])
        if len(kernel) != 2:
            raise NotDescribed(node, f"it works on {len(kernel)}-dimensional data")
        pairs = {
            "stride": attribute(node, "strides", [1, 1]),
            "dilation": attribute(node, "dilations", [1, 1]),
        }
        found = {"kernel": tuple(kernel), **{key: tuple(pair) for key, pair in pairs.items()}}
        pads = attribute(node, "pads", [0] * 4)
        mode = attribute(node, "auto_pad", b"NOTSET").decode()
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            pads = self._same(node, found, mode == "SAME_UPPER")
        return found, tuple(pads)

    def _same(self, node: onnx.NodeProto, window: Mapping[str, Sides], behind: bool) -> list[int]:
        """The padding that keeps an image's size, but for the stride."""
        lows, highs = [], []
        sizes = self.shapes[node.input[0]][2:]
        windows = (window[key] for key in ("kernel", "stride", "dilation"))
        for side, k, s, d in zip(sizes, *windows, strict=True):
            whole = max((-(-side // s) - 1) * s + d * (k - 1) + 1 - side, 0)
            low = whole // 2 if behind else -(-whole // 2)
            lows.append(low)
            highs.append(whole - low)
        return [*lows, *highs]

    def _padded_input(
        self, node: onnx.NodeProto, pads: Sequence[int], always: bool = False
    ) -> tuple[str, Sides]:
        """What a window goes over, and its own padding: zeros that differ between the sides are put in first."""
        top, left, bottom, right = pads
        source = node.input[0]
        if (top, left) == (bottom, right) and not always:
            return source, (top, left)
        name = f"{node.output[0]} padded"
        before = self.take(source)
        edges = ((top, bottom), (left, right))
        self.known[name] = self.row("pad", f"{self._name(node)}.pad", [before], node.name, {"edges": edges})
        batch, channels, *_ = self.shapes[source]
        self.shapes[name] = (batch, channels, *self.tensors[self.known[name]].size)
        return name, (0, 0)

    def _bias(self, node: onnx.NodeProto, outputs: int) -> np.ndarray | None:
        """A layer's own bias."""
        if len(node.input) < 3 or not node.input[2]:
            return None
        value = self.weight(node, 2)
        if value.size not in (1, outputs):
            raise NotDescribed(node, "its bias is not one value for each channel")
        return np.broadcast_to(value.reshape(-1), (outputs,))

    def _constants_behind(
        self, node: onnx.NodeProto
    ) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
        """A factor and a summand for each channel that follow a layer and can become part of it, and what they make.

        A number that is added to all channels belongs to an activation more often than not, and stays.
        """
        made, (_, channels, *pixels) = [node.output[0]], self.shapes[node.output[0]]
        factor, summand = None, None
        while (user := self.only_user(made[-1])) is not None and user.op_type in _AFFINE:
            place = list(user.input).index(made[-1])
            value = self.constant(user, 1 - place)
            if value is None or (place == 1 and user.op_type in ("Sub", "Div")):
                break
            aligned = (1,) * (len(pixels) + 2 - value.ndim) + value.shape  # shapes are lined up at their ends
            each = aligned == (1, channels, *[1] * len(pixels))
            if not each and (value.size > 1 or user.op_type in ("Add", "Sub")):
                break
            number = np.broadcast_to(value.reshape(-1).astype(np.float64), (channels,))
            if user.op_type in ("Mul", "Div"):
                number = number if user.op_type == "Mul" else 1 / number
                factor = number if factor is None else factor * number
                summand = None if summand is None else summand * number
            else:
                number = number if user.op_type == "Add" else -number
                summand = number if summand is None else summand + number
            made.append(user.output[0])
        return factor, summand, made[1:]

    def _affine(
        self, node: onnx.NodeProto, arrays: Mapping[str, np.ndarray], axis: int = 0
    ) -> tuple[dict[str, np.ndarray], list[str]]:
        """Weight and bias with the constants that follow, computed in float64 and rounded once, and what those make.

        Args:
            node: the layer.
            arrays: its own; without a bias it has none.
            axis: of the weight that the outputs lie along.
        """
        factor, summand, made = self._constants_behind(node)
        if factor is None and summand is None:
            return dict(arrays), made
        found = {key: np.asarray(value, np.float64) for key, value in arrays.items()}
        if factor is not None:
            found["weight"] *= factor.reshape([-1 if i == axis else 1 for i in range(found["weight"].ndim)])
            found |= {"bias": found["bias"] * factor} if "bias" in found else {}
        if summand is not None:
            found["bias"] = found.get("bias", 0.0) + summand
        return {key: value.astype(np.float32) for key, value in found.items()}, made

    def _done_with(self, node: onnx.NodeProto, made: Sequence[str]) -> None:
        """What the constants behind a layer make is what the layer makes."""
        self.done.update(made)
        self.known.update(dict.fromkeys(made, self.known[node.output[0]]))

    def _layer(
        self,
        node: onnx.NodeProto,
        kind: str,
        source: str,
        weight: np.ndarray,
        made: int | None,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        bias = self._bias(node, self.shapes[node.output[0]][1])
        own = {"weight": weight} | ({} if bias is None else {"bias": bias})
        arrays, behind = self._affine(node, own, int(kind == "conv_transpose"))
        attributes = {key: value for key, value in (given or {}).items() if value != _DEFAULT.get(key)}
        if "bias" in arrays:
            attributes["bias"] = True
        self.add(node, kind, [source], attributes, made, arrays)
        self._done_with(node, behind)

    def conv(self, node: onnx.NodeProto) -> None:
        """Convolution; a factor and a summand for each channel behind it become part of it."""
        weight, groups = self.weight(node, 1), attribute(node, "group", 1)
        window, pads = self._window(node)
        source, padding = self._padded_input(node, pads)
        channels, outputs = self.shapes[source][1], weight.shape[0]
        depthwise = groups == channels == outputs and groups > 1
        more: dict[str, Any] = {"depthwise": True} if depthwise else {"groups": groups} if groups > 1 else {}
        made = None if depthwise else outputs
        self._layer(node, "conv", source, weight, made, {**window, "padding": padding, **more})

    def conv_transpose(self, node: onnx.NodeProto) -> None:
        """Transposed convolution of one group."""
        weight = self.weight(node, 1)
        window, (top, left, bottom, right) = self._window(node)
        plain = not any(attribute(node, "output_padding", [0])) and attribute(node, "group", 1) == 1
        if not plain or (top, left) != (bottom, right) or attribute(node, "auto_pad", b"NOTSET") != b"NOTSET":
            raise NotDescribed(node, "groups, output padding, or a padding that differs between the sides")
        self._layer(
            node, "conv_transpose", node.input[0], weight, weight.shape[1], {**window, "padding": (top, left)}
        )

    def gemm(self, node: onnx.NodeProto) -> None:
        """Linear layer."""
        weight = self.weight(node, 1) * np.float32(attribute(node, "alpha", 1.0))
        if attribute(node, "transA", 0) or attribute(node, "beta", 1.0) != 1.0:
            raise NotDescribed(node, "transA or beta")
        weight = weight if attribute(node, "transB", 0) else weight.T
        self._layer(node, "linear", node.input[0], weight, weight.shape[0])

    def matmul(self, node: onnx.NodeProto) -> None:
        """Linear layer without bias, or the first half of an adaptive pool."""
        if self._adaptive(node):
            return
        weight = self.weight(node, 1)
        if weight.ndim != 2 or len(self.shapes[node.input[0]]) != 2:
            raise NotDescribed(node, "it works on sequences")
        self._layer(node, "linear", node.input[0], weight.T, weight.shape[1])

    def _adaptive(self, node: onnx.NodeProto) -> bool:
        """An adaptive pool in two products: rows of means from the left, columns from the right."""
        other = self.only_user(node.output[0])
        if other is None or other.op_type != "MatMul" or self.constant(node, 0) is None:
            return False
        down, across = self.constant(node, 0), self.constant(other, 1)
        shape = self.shapes.get(node.input[1], ())
        if across is None or down is None or len(shape) != 4 or down.ndim != 2 or across.ndim != 2:
            return False
        size = (down.shape[0], across.shape[1])
        wanted = [adaptive_means(side, made) for side, made in zip(shape[2:], size, strict=True)]
        if not all(np.array_equal(a, b) for a, b in zip(wanted, (down, across.T), strict=True)):
            return False
        self.done.add(other.output[0])
        self.add(other, "adaptive_avg_pool", [node.input[1]], {"size": size})
        return True

    def batch_norm(self, node: onnx.NodeProto) -> None:
        """Batch normalisation out of training."""
        keys = ("weight", "bias", "running_mean", "running_var")
        arrays = {key: self.weight(node, place) for place, key in enumerate(keys, start=1)}
        eps = attribute(node, "epsilon", EPSILON)
        given = {} if abs(eps / EPSILON - 1) < 1e-6 else {"eps": float(f"{eps:.6g}")}
        moved, behind = self._affine(node, {key: arrays[key] for key in ("weight", "bias")})
        self.add(node, "batch_norm", node.input[:1], given, weights=arrays | moved)
        self._done_with(node, behind)

    def pool(self, node: onnx.NodeProto) -> None:
        """Largest value or mean of each window; padding that is larger behind the image means sizes rounded up."""
        window, pads = self._window(node)
        maximum = node.op_type == "MaxPool"
        source, counted = node.input[0], bool(attribute(node, "count_include_pad", 0))
        narrow = all(2 * pad <= side for pad, side in zip(pads, window["kernel"] * 2, strict=True))
        if not maximum and counted and (pads[:2] != pads[2:] or not narrow):
            source, (down, across) = self._padded_input(node, pads, always=True)
            pads, narrow = (down, across) * 2, True
        ceil_mode = bool(attribute(node, "ceil_mode", 0))
        given: dict[str, Any] = {key: value for key, value in window.items() if value != _DEFAULT.get(key)}
        given |= {"padding": pads[:2]}
        if not maximum and any(pads[:2]):
            given["count_padding"] = counted
        before, after = (tuple(self.shapes[name][2:]) for name in (source, node.output[0]))
        for more in (given, given | {"ceil": True}) if narrow else ():
            op = Op("max_pool" if maximum else "avg_pool", node.name, (), "", "", more)
            if not _fits(op, before, after):
                continue
            edges = beyond(Placed(op, (Tensor((), before),), Tensor((), after)))
            same = edges == tuple(zip(pads[:2], pads[2:], strict=True))
            if same or (ceil_mode and pads[:2] == pads[2:]):
                return self.add(node, op.kind, [source], more)
        raise NotDescribed(node, f"padding {list(pads)}")

    def mean(self, node: onnx.NodeProto) -> None:
        """Mean over all pixels."""
        before, after = self.shapes[node.input[0]], self.shapes[node.output[0]]
        axes = self.constant(node, 1) if node.op_type == "ReduceMean" else np.array([2, 3])
        given = attribute(node, "axes", None) if axes is None else [int(one) for one in axes.reshape(-1)]
        if len(before) != 4 or given is None or sorted(axis % 4 for axis in given) != [2, 3]:
            raise NotDescribed(node, "a mean over other axes than height and width")
        keep = {"keep": True} if len(after) == 4 else {}
        self.add(node, "global_avg_pool", node.input[:1], keep)


def _fits(op: Op, before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether a window over an image of one size gives the other."""
    try:
        return windowed(op, before, bool(op.attributes.get("ceil"))) == after
    except TooSmall:
        return False
