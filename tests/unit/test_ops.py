"""Every op kind in every form: what torch, ONNX Runtime, LiteRT, ncnn and OpenVINO make of it is the same."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hakd.boards import engines, packing
from hakd.boards.opencl import OPENCL
from hakd.networks.engine_model import engine_model
from hakd.networks.int8 import TOLERANCE
from hakd.networks.int8_parts import reference_output
from hakd.networks.kernel_model import FORMATS
from hakd.networks.module import Network
from hakd.networks.onnx_model import stand_in_weights, to_onnx
from hakd.ops.activations import ACTIVATIONS
from hakd.ops.kinds import KINDS
from hakd.ops.op import NoForm, Rule
from hakd.ops.tensors import Segment
from hakd.records.errors import HakdError
from hakd.records.graph import Builder, Graph
from tests.unit.reference import torch_output

# bitmap and im2col differ from csr in the product alone, see test_kernel_model.py; OpenCL: test_opencl.py.
ENGINES = sorted(engines.ENGINES.keys() - {"bitmap", "im2col", "onnxruntime-cuda", *OPENCL})


@dataclass(frozen=True)
class Row:
    """One op of a kind: its attributes, and what it is given."""

    about: str
    attributes: dict[str, Any] = field(default_factory=dict)
    made: int | None = None
    size: tuple[int, ...] = (7, 10)
    inputs: tuple[str, ...] = ("x",)  # of what `_sources` makes


def window(about: str, kernel: object, size: tuple[int, int] = (7, 10), made: int | None = None, **more: Any):
    """A row with a window."""
    return Row(about, {"kernel": kernel, **more}, made, size)


def conv(about: str, kernel: object, size: tuple[int, int] = (7, 10), **more: Any) -> Row:
    """A convolution of four channels to six."""
    return window(about, kernel, size, None if more.get("depthwise") else 6, **more)


FLAT = Row("flat", size=())
PLACES = (Row("image"), FLAT)
CONVS = (
    conv("plain", 3, padding=1),
    conv("bias", 3, padding=1, bias=True),
    conv("1x1", 1, stride=2),
    conv("odd", 3, stride=2, padding=1, size=(7, 9)),
    conv("even", 3, stride=2, padding=1, size=(8, 6)),
    conv("little-padding", 5, padding=1),
    conv("much-padding", 3, padding=2),
    conv("wide-stride", 11, stride=4, padding=2, size=(23, 19)),
    conv("rectangle", (1, 3), padding=(0, 1), bias=True),
    conv("tall", (7, 1), stride=(2, 1), padding=(3, 0)),
    conv("padded-one-way", (3, 3), padding=(0, 2), stride=(1, 3)),
    conv("dilation", 3, dilation=2, padding=2),
    conv("dilation-across", 3, dilation=(1, 3), padding=(1, 2)),
    conv("groups", 3, groups=2, padding=1, bias=True),
    conv("groups-stride", 3, groups=2, padding=1, stride=2, size=(8, 8)),
    window("filters-a-channel", 3, groups=4, made=8, padding=1),
    conv("depthwise", 3, depthwise=True, padding=1),
    conv("depthwise-bias", 5, depthwise=True, padding=2, stride=2, bias=True),
    conv("depthwise-rectangle", (5, 1), depthwise=True, padding=(2, 0), stride=(1, 2)),
    conv("depthwise-dilation", 3, depthwise=True, padding=2, dilation=2),
)
TRANSPOSED = (
    conv("plain", 2, stride=2),
    conv("even-padding", 4, stride=2, padding=1, bias=True),
    conv("odd-padding", 3, stride=2, padding=1),
    conv("stride-one", 3, padding=1),
    conv("rectangle", (1, 3), stride=(1, 2), padding=(0, 1), bias=True),
    conv("dilation", 3, stride=2, padding=1, dilation=2),
)
MAXIMA = (
    window("plain", 2, stride=2),
    window("overlap", 3, stride=2),
    window("same", 3, stride=1, padding=1),
    window("padding", 3, stride=2, padding=1, size=(8, 12)),
    window("ceil", 3, stride=2, ceil=True, size=(8, 9)),
    window("ceil-more", 2, stride=2, ceil=True),
    window("ceil-padding", 3, stride=2, padding=1, ceil=True),
    window("ceil-gap", 2, stride=3, padding=1, ceil=True, size=(8, 9)),
    window("rectangle", (2, 3), stride=(2, 1), padding=(0, 1)),
    window("dilation", 2, stride=1, dilation=2),
)
MEANS = (
    window("plain", 2, stride=2),
    window("overlap", 3, stride=2),
    window("counted", 3, stride=1, padding=1),
    window("counted-stride", 3, stride=2, padding=1, size=(8, 12)),
    window("not-counted", 3, stride=1, padding=1, count_padding=False),
    window("not-counted-stride", 3, stride=2, padding=1, count_padding=False, size=(8, 12)),
    window("ceil", 3, stride=2, ceil=True, size=(8, 9)),
    window("ceil-counted", 3, stride=2, padding=1, ceil=True, size=(8, 12)),
    window("ceil-not-counted", 3, stride=2, padding=1, ceil=True, count_padding=False, size=(8, 12)),
    window("rectangle", (2, 3), stride=(2, 1), padding=(0, 1)),
)
ROWS: dict[str, tuple[Row, ...]] = {
    "conv": CONVS,
    "conv_transpose": TRANSPOSED,
    "linear": (Row("plain", {}, 5, ()), Row("bias", {"bias": True}, 5, ())),
    "batch_norm": (*PLACES, Row("eps", {"eps": 1e-3})),
    **{kind.name: PLACES for kind in ACTIVATIONS},
    "leaky_relu": (*PLACES, Row("slope", {"negative_slope": 0.2})),
    "prelu": PLACES,
    "max_pool": MAXIMA,
    "avg_pool": MEANS,
    "global_avg_pool": (Row("flat"), Row("keep", {"keep": True}), Row("one-pixel", size=(1, 1))),
    "adaptive_avg_pool": (
        Row("to-one", {"size": 1}),
        Row("even", {"size": (3, 2)}, size=(6, 8)),
        Row("itself", {"size": (7, 10)}),
        Row("uneven", {"size": 3}),
    ),
    "add": (
        Row("two", inputs=("x", "relu")),
        Row("three", inputs=("x", "relu", "x")),
        Row("flat", size=(), inputs=("x", "relu")),
    ),
    "mul": (
        Row("alike", inputs=("x", "relu")),
        Row("gate", inputs=("x", "gate")),
        Row("gate-first", inputs=("gate", "x")),
        Row("flat", size=(), inputs=("x", "relu")),
    ),
    "concat": (
        Row("two", inputs=("x", "relu")),
        Row("three", inputs=("relu", "x", "relu")),
        Row("flat", size=(), inputs=("x", "relu")),
    ),
    "split": (
        Row("first", {"start": 0, "stop": 2}),
        Row("middle", {"start": 1, "stop": 3}),
        Row("flat", {"start": 1, "stop": 4}, size=()),
    ),
    "shuffle": (Row("two", {"groups": 2}), Row("all", {"groups": 4}, size=(5, 5))),
    "flatten": (Row("image"), Row("one-pixel", size=(1, 1)), FLAT),
    "unflatten": (FLAT,),
    "pad": (
        Row("around", {"edges": ((1, 1), (2, 2))}),
        Row("behind", {"edges": ((0, 1), (0, 1))}),
    ),
    "dropout": (*PLACES, Row("p", {"p": 0.2})),
}
CASES = [(kind, row) for kind, rows in ROWS.items() for row in rows]
# (engine, kind-row): what an engine does not have
MISSING = {
    ("litert", "conv_transpose-dilation"),
    ("litert", "max_pool-dilation"),
    ("ncnn", "max_pool-dilation"),
    ("litert", "adaptive_avg_pool-uneven"),
    ("ncnn", "adaptive_avg_pool-uneven"),
}


def key(case: tuple[str, Row]) -> str:
    return f"{case[0]}-{case[1].about}"


# The engines with kernels of hakd's own share one list.
NOT_IN_KERNELS = (
    "conv_transpose",
    "leaky_relu",
    "prelu",
    "sigmoid",
    "silu",
    "hardswish",
    "hardsigmoid",
    "gelu",
)
NOT_IN_KERNELS += ("mul", "split", "shuffle", "pad")
MISSING |= {
    (engine, name)
    for engine in FORMATS
    for name in map(key, CASES)
    if name.split("-")[0] in NOT_IN_KERNELS or name == "adaptive_avg_pool-uneven"
}


def _sources(b: Builder, x: str) -> dict[str, Callable[[], str]]:
    def gate() -> str:
        return b.add("sigmoid", "gate", b.add("global_avg_pool", "mean", x, keep=True))

    return {"x": lambda: x, "relu": lambda: b.relu(x, "relu"), "gate": gate}


def build(case: tuple[str, Row], inside: bool) -> Graph:
    """The op alone on four channels, or of sixteen between a layer and a rectifier, which engines may fuse."""
    kind, row = case
    factor = 4 if inside else 1
    b = Builder(4 * factor, row.size)
    x = b.input
    fixes = KINDS[kind].rule is Rule.FIXES or row.attributes.get("groups", 1) > 1
    if inside:
        first = Segment(None if fixes else "first", 4 * factor)
        given = {"kernel": 1} if row.size else {}
        x = b.add("conv" if row.size else "linear", "first", x, first, bias=True, **given)
    sources = _sources(b, x)
    made = {name: sources[name]() for name in dict.fromkeys(row.inputs)}
    segment = None if row.made is None else Segment(None if fixes else "op", row.made * factor)
    x = b.add(kind, "op", [made[name] for name in row.inputs], segment, **row.attributes)
    return b.graph(b.add("relu6", "last", x) if inside else x)


def image(graph: Graph, batch: int = 1) -> np.ndarray:
    return packing.board_input((batch, *graph.tensors[graph.inputs[0]].shape))


def engine_output(engine: str, graph: Graph, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    prepared = engines.load(engine, 1).prepare(engine_model(engine, graph, weights, len(x)), x)
    prepared.call()
    return prepared.output()


every_case = pytest.mark.parametrize("case", CASES, ids=key)
both = pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside"])


def test_every_kind_has_a_row_and_every_gap_too():
    assert ROWS.keys() == KINDS.keys()
    assert len(set(map(key, CASES))) == len(CASES)
    assert {name for _, name in MISSING} <= set(map(key, CASES))


def test_the_documentation_has_every_kind_and_names_what_is_missing(root):
    section = (
        (root / "docs/engines.md").read_text().split("## Which ops each engine has")[1].split("\n## ")[0]
    )
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|(.*)\|(.*)\|(.*)\|$", section, re.MULTILINE)
    table = {
        kind: dict(zip(("onnxruntime", "litert", "ncnn", "csr"), cells, strict=True)) for kind, *cells in rows
    }
    assert table.keys() == KINDS.keys()
    found = {
        (engine, kind) for kind, cells in table.items() for engine in cells if "missing" in cells[engine]
    }
    named = {(engine, name.split("-")[0]) for engine, name in MISSING}
    alike = {"onnxruntime": ("openvino",), "csr": tuple(FORMATS)}
    found |= {(other, kind) for engine, kind in found for other in alike.get(engine, ())}
    assert found == named


@pytest.mark.parametrize("engine", ENGINES)
@both
@every_case
def test_an_engine_computes_what_torch_computes(case, inside, engine):
    graph = build(case, inside)
    weights, x = stand_in_weights(graph), image(graph, 1 if engine == "ncnn" else 2)
    if (engine, key(case)) in MISSING:
        with pytest.raises(
            HakdError, match=rf"^engine: {engine} .* ({case[0]} \(op|sigmoid \(gate).*\)\. Set `engine`"
        ):
            engine_model(engine, graph, weights)
        return
    found, expected = engine_output(engine, graph, weights, x), torch_output(graph, weights, x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@both
@every_case
def test_shapes_parameters_and_multiplications_are_torchs(case, inside):
    graph = build(case, inside)
    module, counted = Network(graph).eval(), []

    def count(layer: nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
        moved = given[0] if isinstance(layer, nn.ConvTranspose2d) else out
        counted.append(moved[0].numel() * layer.weight[0].numel())

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        out = module(torch.from_numpy(image(graph, 2)))
    assert tuple(out.shape[1:]) == graph.tensors[graph.output].shape
    assert sum(parameter.numel() for parameter in module.parameters()) == graph.params()
    assert sum(counted) == graph.macs()


@every_case
def test_a_narrower_op_runs(case):
    whole = build(case, inside=True)
    graph = whole.at({group: width // 2 - 1 for group, width in whole.groups().items()})
    weights, x = stand_in_weights(graph), image(graph, 2)
    expected = torch_output(graph, weights, x)
    assert expected.shape[1:] == graph.tensors[graph.output].shape
    try:
        model = to_onnx(graph, weights, 2).SerializeToString()
    except NoForm:
        assert ("onnxruntime", key(case)) in MISSING
        return
    prepared = engines.load("onnxruntime", 1).prepare(model, x)
    prepared.call()
    np.testing.assert_allclose(prepared.output(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


# --- int8

# What no engine has in int8, by what a case begins with.
NOT_INT8 = ("conv_transpose", "batch_norm-flat", "batch_norm-eps-flat")
# Means that LiteRT has to put right by a factor.
UNEVEN = {f"avg_pool-{name}" for name in ("not-counted-stride", "ceil", "ceil-counted", "ceil-not-counted")}
WITHIN = 0.12  # of the largest output: five roundings to 255 steps, and the largest errors of many values


@pytest.mark.parametrize("engine", ["onnxruntime", "litert"])
@every_case
def test_in_int8_an_engine_computes_what_its_scheme_says_and_nearly_what_torch_does(case, engine):
    graph = build(case, inside=True)
    weights, x = stand_in_weights(graph), image(graph)
    if key(case).startswith(NOT_INT8):
        with pytest.raises(HakdError, match=rf"^engine: {engine} does not have the op {case[0]} .*int8"):
            engine_model(engine, graph, weights, precision="int8")
        return
    if (engine, key(case)) in MISSING or (engine == "litert" and key(case) in UNEVEN):
        with pytest.raises(HakdError, match=rf"^engine: {engine} does not have the op {case[0]}"):
            engine_model(engine, graph, weights, precision="int8")
        return
    model = engine_model(engine, graph, weights, precision="int8")
    prepared = engines.load(engine, 1).prepare(model, x)
    prepared.call()
    found, expected = prepared.output(), torch_output(graph, weights, x)
    assert found.shape == expected.shape and found.dtype == np.float32
    largest = max(1.0, np.abs(expected).max())
    assert np.abs(found - reference_output(engine, graph, weights, x)).max() <= TOLERANCE * largest
    assert np.abs(found - expected).max() <= WITHIN * largest
