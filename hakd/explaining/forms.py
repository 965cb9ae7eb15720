"""Blocks of a user's model for engines that take no ONNX, and in int8."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import onnx

from hakd.boards import Unmeasurable
from hakd.boards.device import FLOAT32, INT8
from hakd.boards.packing import board_input
from hakd.importing.describing import read
from hakd.importing.model import model_from
from hakd.importing.writing import NotDescribed
from hakd.networks.engine_model import ONNX_ENGINES, engine_model
from hakd.networks.int8 import calibrate
from hakd.networks.int8_parts import plain_output, reference_output
from hakd.networks.onnx_int8 import to_int8
from hakd.networks.onnx_model import fold_weights
from hakd.records.errors import HakdError
from hakd.records.graph import Graph


class Form(Protocol):
    """What is needed of a block."""

    input_shape: tuple[int, ...]

    def model(self) -> bytes:
        """The block as an ONNX model in float32."""


def int8_form(block: Form, engine: str) -> tuple[Callable[[], bytes], Callable[[np.ndarray], np.ndarray]]:
    """What makes a block's model in int8, and what its output for an input is compared with.

    That is what the quantised block makes of it where each node is computed in float32 between two roundings.
    """
    if engine in ONNX_ENGINES:
        return (lambda: _int8(block, True)), (lambda images: plain_output(_int8(block, False), images))

    def output(images: np.ndarray) -> np.ndarray:
        with _unmeasurable(engine):
            return reference_output(engine, *_described(engine, block), images)

    return (lambda: in_form_of(engine, block, INT8)), output


def _int8(block: Form, part: bool) -> bytes:
    """A block in int8, its input and output too where it is a `part`; as it is where the user's own is quantised."""
    model = onnx.load_from_string(block.model())
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return model.SerializeToString()
    ranges = calibrate(model, [board_input(block.input_shape)])
    return to_int8(model, ranges, part=part).SerializeToString()


def in_form_of(engine: str, block: Form, precision: str = FLOAT32) -> bytes:
    """A block as an engine takes it that takes no ONNX, by way of the op-level description.

    Raises:
        Unmeasurable: the description or the engine lacks an op of it.
    """
    with _unmeasurable(engine):
        return engine_model(engine, *_described(engine, block), block.input_shape[0], precision)


def _described(engine: str, block: Form) -> tuple[Graph, dict[str, np.ndarray]]:
    model = model_from(onnx.load_from_string(block.model()), "the block", block.input_shape[0])
    if len(model.outputs) != 1:
        raise Unmeasurable(f"{engine}: several outputs")
    described = read(model)
    if described.softmax:
        raise Unmeasurable(f"{engine}: no implementation of {described.softmax}")
    _, channels, *size = block.input_shape
    return fold_weights(described.graph(channels, size), described.weights)


@contextlib.contextmanager
def _unmeasurable(engine: str) -> Iterator[None]:
    """What the description or an engine lacks, as a reason not to time a block."""
    try:
        yield
    except NotDescribed as error:
        raise Unmeasurable(f"{engine}: no implementation of {error.op}") from None
    except HakdError as error:
        raise Unmeasurable(f"{engine}: {error.problem}") from None
