"""A network of the user's: from a module or an ONNX file to its specification and its weights.

Both go through ONNX, so one reader serves them. What was read is compared with what the original computes.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hakd.importing.describing import Description, describe
from hakd.importing.rows import CLASSES, Row, Rows
from hakd.networks.families import frozen_option, full_graph, network_spec
from hakd.networks.imported import FAMILY, OWN, Images, find_file
from hakd.networks.weight_files import fitting, read_weights
from hakd.ops.kinds import KINDS
from hakd.ops.op import Op, Rule
from hakd.records.arch import NetworkSpec
from hakd.records.errors import HakdError

_TOLERANCE = 1e-3  # of the largest logit: structure, not rounding
_SEED = 0  # of a head that is replaced


@dataclass(frozen=True)
class Imported:
    """A network with its weights.

    Attributes:
        spec: at full width.
        weights: by name of the description.
        remarks: what the person should know, a sentence each.
        replaced: whether its head was replaced, because it was made for another number of classes.
    """

    spec: NetworkSpec
    weights: Mapping[str, np.ndarray]
    remarks: tuple[str, ...] = ()
    replaced: bool = False


def import_network(
    name: str,
    settings: Mapping[str, Any],
    images: Images,
    folders: Sequence[str | os.PathLike] = (),
) -> Imported:
    """A network as its settings have it: `module` or `onnx`, else a family with `weights`.

    Args:
        name: of the network.
        settings: of the configuration; `input_size` goes before the size of the images.
        images: of the data set.
        folders: where modules and files are looked for, before the working directory.

    Raises:
        HakdError: a module, a file or weights that cannot be used, a network that the description cannot hold, one
            that gives no logits, or one for other classes or images than the data have.
    """
    if "module" not in settings and "onnx" not in settings:
        spec = network_spec(name, settings, images.channels, images.classes or 0)
        path = find_file(str(settings["weights"]), folders)
        return Imported(spec, fitting(read_weights(path), full_graph(spec).parameter_shapes(), path))
    size = settings.get("input_size", images.size)
    height, width = (size, size) if isinstance(size, int) else size
    image = (images.channels, int(height), int(width))
    read = _from_module if "module" in settings else _from_onnx
    where, described, shape = read(settings, image, folders)
    if len(shape) != 2 and images.classes is not None:
        words = f"it gives {' x '.join(map(str, shape))} values, a classifier one for each class"
        raise HakdError(words, where=where, remedy="Give a network that returns logits")
    rows, weights, replaced = _for_classes(described, images.classes, where)
    options = {"ops": [row.to_json() for row in rows.rows]} | frozen_option(settings.get("frozen", ()))
    classes = described.classes if images.classes is None else images.classes
    spec = NetworkSpec(name, FAMILY, images.channels, (image[1], image[2]), classes, options)
    full_graph(spec)
    left = (
        f"the {described.softmax} at its end is left out: training works on logits"
        if described.softmax
        else ""
    )
    return Imported(spec, weights, tuple(filter(None, (left, replaced))), bool(replaced))


def _from_module(
    settings: Mapping[str, Any], image: Sequence[int], folders: Sequence[str | os.PathLike]
) -> tuple[str, Description, Sequence[int]]:
    import torch

    from hakd.importing.modules import build_module, module_model

    where = str(settings["module"])
    network = build_module(where, folders)
    given = settings.get("weights", OWN)
    if given != OWN:
        path = find_file(str(given), folders)
        wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        arrays = fitting(read_weights(path), wanted, path)
        network.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.items()})
    described = describe(module_model(network, image, where, keep_dropout=True), where)
    images = _probe(image)
    with torch.no_grad():
        logits = network(torch.from_numpy(images)).numpy()
    _compare(described, image, images, logits, where)
    return where, described, logits.shape


def _from_onnx(
    settings: Mapping[str, Any], image: Sequence[int], folders: Sequence[str | os.PathLike]
) -> tuple[str, Description, Sequence[int]]:
    from hakd.importing.model import load_model

    where = str(find_file(str(settings["onnx"]), folders))
    if settings.get("weights", OWN) != OWN:
        remedy = f"Write `weights: {OWN}`"
        raise HakdError("an ONNX file brings its own weights", where=where, key="weights", remedy=remedy)
    model = load_model(where, image=image, keep_dropout=True)
    described = describe(model, where)
    images = _probe(image)
    logits = _run(where, model.source, images)
    _compare(described, image, images, logits, where)
    return where, described, logits.shape


def _run(path: str, source: str, images: np.ndarray) -> np.ndarray:
    """The logits that onnxruntime computes with the file as it is."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        fixed = session.get_inputs()[0].shape[0]
        batch = np.concatenate([images] * fixed) if isinstance(fixed, int) else images
        found: np.ndarray = session.run(None, {source: batch})[0][: len(images)]
    except Exception as error:  # what it is depends on the fault
        words = f"onnxruntime cannot run it ({' '.join(str(error).split())[:200]})"
        raise HakdError(words, where=path, remedy="Export it again") from None
    return found


def _probe(image: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(_SEED).standard_normal((1, *image)).astype(np.float32)


def _compare(
    described: Description, image: Sequence[int], images: np.ndarray, logits: np.ndarray, where: str
) -> None:
    """Refuse a description that computes something else than the original."""
    import torch

    from hakd.networks.module import network_with

    graph = described.graph(image[0], image[1:])
    with torch.no_grad():
        made = network_with(graph, described.weights).eval()(torch.from_numpy(images)).numpy()
    if described.softmax:
        made = made - np.log(np.exp(made - made.max()).sum()) - made.max()
        logits = np.log(np.maximum(logits, 1e-30)) if described.softmax == "Softmax" else logits
    worst = np.abs(made - logits).max() / max(np.abs(logits).max(), 1e-30)
    if not worst <= _TOLERANCE:
        words = f"what was read of it computes something else, by {worst:.1g} of the largest value"
        remedy = "Give it as an ONNX file, which `hakd explain` takes whole, and tell us"
        raise HakdError(words, where=where, remedy=remedy)


def _for_classes(
    described: Description, classes: int | None, where: str
) -> tuple[Rows, dict[str, np.ndarray], str]:
    """Rows and weights for the data's classes: the layer that makes the logits is marked, or replaced; what was done.

    Raises:
        HakdError: other classes, and no single layer that makes the logits.
    """
    rows, weights = described.rows, dict(described.weights)
    head = _head(rows)
    if head is None:
        made = described.classes
        if classes not in (None, made):
            words = f"it gives {made} values, the data have {classes} classes, and no single layer makes them"
            raise HakdError(words, where=where, remedy="Build the network for these classes")
        return rows, weights, ""
    rows = rows.replaced({head.name: replace(head, made=CLASSES)})
    if classes is None or head.made == classes:
        return rows, weights, ""
    old = weights[f"{head.name}.weight"]
    fan_in = int(np.prod(old.shape[1:]))
    random, bound = (
        np.random.default_rng(_SEED),
        fan_in**-0.5,
    )  # torch's own, of linear layers and convolutions
    weights[f"{head.name}.weight"] = random.uniform(-bound, bound, (classes, *old.shape[1:])).astype(
        np.float32
    )
    if f"{head.name}.bias" in weights:
        weights[f"{head.name}.bias"] = random.uniform(-bound, bound, classes).astype(np.float32)
    return (
        rows,
        weights,
        f"its head {head.name} gives {head.made} values: replaced by one for {classes} classes",
    )


def _head(rows: Rows) -> Row | None:
    """The one layer whose outputs are the logits, each channel a value; None where there is none such."""
    row = rows.by_name[rows.output]
    while True:
        rule = KINDS[row.kind].rule_of(Op(row.kind, row.name, row.inputs, row.name, "", row.attributes))
        if rule is Rule.MAKES:
            return row if row.kind != "conv_transpose" else None
        if rule is not Rule.KEEPS or row.inputs[0] not in rows.by_name:
            return None
        row = rows.by_name[row.inputs[0]]
