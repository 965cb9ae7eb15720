"""OpenCL engines: whole networks and every op that they have against torch, on the first device of this machine."""

import numpy as np
import pytest

from hakd.boards import packing
from hakd.boards.opencl import OPENCL
from hakd.networks.engine_model import engine_model
from hakd.networks.families import build_graph
from hakd.networks.onnx_model import stand_in_weights
from hakd.ops.tensors import Segment
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.records.graph import Builder, Graph, fold_batch_norm
from tests.unit.builders import SPECS, narrowed
from tests.unit.reference import opencl_engine, torch_output

# CLBlast's kernels take half a minute to compile for PoCL, whose compiler sees them for the first time.
pytestmark = [pytest.mark.parametrize("name", sorted(OPENCL)), pytest.mark.xdist_group("opencl")]


def check(name: str, graph: Graph, batch: int = 1) -> None:
    engine, weights = opencl_engine(name), stand_in_weights(graph)
    x = packing.board_input((batch, *graph.tensors[graph.inputs[0]].shape))
    prepared = engine.prepare(engine_model(name, graph, weights, batch), x)
    prepared.call()
    first = prepared.output()
    prepared.call()
    expected = torch_output(graph, weights, x)
    assert np.array_equal(first, prepared.output()) and first.shape == expected.shape
    assert np.abs(first - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("family", ["mobilenet", "resnet"])
def test_a_network_runs_whole_in_opencl(name, family):
    spec = SPECS[family]()
    graph, _ = fold_batch_norm(build_graph(Architecture(spec, narrowed(spec))))
    check(name, graph)


def test_every_op_that_opencl_has(name):
    """Windows of two shapes, edges, dilation, groups, sums of three, means with and without padding; two images."""
    b = Builder(6, (11, 9))
    x = b.conv(b.input, "conv", Segment(None, 8), 3, stride=2, padding=2, bias=True)
    y = b.add(
        "relu6", "relu6", b.conv(x, "groups", Segment(None, 8), (3, 1), padding=(2, 0), dilation=2, groups=2)
    )
    z = b.add("conv", "depthwise", x, kernel=3, padding=1, depthwise=True, bias=True)
    x = b.relu(b.add("add", "add", (x, y, z)), "relu")
    x = b.concat((b.batch_norm(x, "norm"), y, x), "concat")
    x = b.max_pool(x, "max", 3, 2, 1)
    x = b.add("avg_pool", "mean", x, kernel=2, stride=1, padding=1, count_padding=False)
    x = b.add("flatten", "flatten", b.add("adaptive_avg_pool", "adaptive", x, size=(5, 2)))
    check(name, b.graph(b.relu(b.linear(x, "fc", 5), "last")), batch=2)


def test_opencl_names_what_it_lacks(name):
    b = Builder(3, 8)
    graph = b.graph(b.add("sigmoid", "gate", b.conv(b.input, "conv", 4, 3)))
    expected = rf"{name} does not have the op sigmoid \(gate\)\. Set `engine` of the device to another one"
    with pytest.raises(HakdError, match=expected):
        engine_model(name, graph, stand_in_weights(graph))


def test_the_version_says_on_what_opencl_runs(name):
    engine = opencl_engine(name)
    cl, device = engine.cl, engine.context.devices[0]
    kind = "GPU" if device.type & cl.device_type.GPU else "CPU"
    assert engine.version.split()[1] == kind and device.driver_version.split()[0] in engine.version
    assert 0 < len(engine.version) <= 64


def test_opencl_refuses_what_is_no_model(name):
    engine = opencl_engine(name)
    with pytest.raises(ValueError, match="not a model of these kernels"):
        engine.prepare(b"\0" * 64, packing.board_input((1, 1)))
    model, shape = engine.empty
    prepared = engine.prepare(model, -packing.board_input(shape))
    prepared.call()
    assert prepared.output() == pytest.approx(np.maximum(-packing.board_input(shape), 0))
