"""Points to time, made from op-level descriptions: tiles, decision blocks, networks with stand-in weights."""

from dataclasses import dataclass, field, replace

import numpy as np

from hakd.boards import Device, Point
from hakd.boards.device import INT8
from hakd.networks.engine_model import engine_model
from hakd.networks.families import build_graph
from hakd.networks.int8 import TOLERANCE, WHOLE_TOLERANCE
from hakd.networks.int8_parts import reference_output
from hakd.networks.onnx_model import stand_in_weights
from hakd.records.arch import Architecture
from hakd.records.graph import Graph, fold_batch_norm


def engine_graph(architecture: Architecture) -> Graph:
    """The network as engines run it: batch norms folded where they follow a convolution."""
    return fold_batch_norm(build_graph(architecture))[0]


@dataclass(frozen=True)
class GraphPoint(Point):
    """A point with the graph that it times, so that a computed board needs no model."""

    graph: Graph = field(kw_only=True, compare=False, repr=False)


def point(graph: Graph, label: str, device: Device, curve: str = "", key: str | None = None) -> GraphPoint:
    """A point that times `graph` in the device's engine with stand-in weights and checks its output.

    It is compared with torch's; in int8 with that of the quantised part, computed in float32 on this machine.
    """
    shape = (device.batch, *graph.tensors[graph.inputs[0]].shape)

    def weights() -> dict[str, np.ndarray]:
        # Made late, since points that the store answers need none; not kept, since points live as long as their sweep.
        return stand_in_weights(graph, device.density)

    int8 = device.precision == INT8

    def model() -> bytes:
        return engine_model(device.engine, graph, weights(), device.batch, device.precision)

    def reference(images: np.ndarray) -> np.ndarray:
        if int8:
            return reference_output(device.engine, graph, weights(), images)
        import torch  # here, because a sweep that the store answers needs no torch

        from hakd.networks.module import network_with

        with torch.no_grad():
            return network_with(graph, weights()).eval()(torch.from_numpy(images)).numpy()

    tolerance = TOLERANCE if int8 else None
    return GraphPoint(key or graph.shape_key(), label, model, reference, shape, curve, tolerance, graph=graph)


def network_point(architecture: Architecture, device: Device, curve: str = "") -> GraphPoint:
    """A point that times a whole network with stand-in weights."""
    found = point(engine_graph(architecture), f"{architecture.spec.name} {architecture.arch}", device, curve)
    return found if found.tolerance is None else replace(found, tolerance=WHOLE_TOLERANCE)


def neighbours(graph: Graph, group: str | None = None) -> dict[str, int]:
    """Widths of all groups that shape a part, except `group`."""
    found: dict[str, int] = {}
    for tensor in graph.tensors.values():
        for segment in tensor.channels:
            if segment.group is not None and segment.group != group:
                found[segment.group] = segment.size
    return found
