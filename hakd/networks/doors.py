"""A network of the user's: from a module or an ONNX file to its specification and its weights.

Both go through ONNX, so one reader serves them. What was read is compared with what the original computes.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from hakd.importing.describing import Description, describe
from hakd.networks.families import frozen_option, full_graph, network_spec
from hakd.networks.heads import for_classes
from hakd.networks.imported import FAMILY, OWN, Images, find_file
from hakd.networks.weight_files import fitting, read_weights
from hakd.records.arch import NetworkSpec
from hakd.records.errors import HakdError

_TOLERANCE = 1e-3  # of what different images make different: structure, not rounding
_ROUNDING = 1e-5  # of the largest output
_PROBES = 3
_SEED = 0


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
    where, described, logits = read(settings, image, folders)
    if prod(logits.shape[2:]) > 1 and images.classes is not None:
        words = f"it gives {' x '.join(map(str, logits.shape[1:]))} values, a classifier one for each class"
        raise HakdError(words, where=where, remedy="Give a network that returns logits")
    _compare(described, image, logits, where)
    described = described.flat()
    rows, weights, replaced = for_classes(described, images.classes, where)
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
) -> tuple[str, Description, np.ndarray]:
    import torch

    from hakd.importing.modules import build_module, logits_of, module_model

    where = str(settings["module"])
    network = build_module(where, folders)
    images = torch.from_numpy(_probe(image))
    given = settings.get("weights", OWN)
    if given != OWN:
        logits_of(network, images, where)  # layers may get their shapes only now
        path = find_file(str(given), folders)
        wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        arrays = fitting(read_weights(path), wanted, path)
        network.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.items()})
    described = describe(module_model(network, image, where, keep_dropout=True), where)
    return where, described, logits_of(network, images, where).numpy()


def _from_onnx(
    settings: Mapping[str, Any], image: Sequence[int], folders: Sequence[str | os.PathLike]
) -> tuple[str, Description, np.ndarray]:
    from hakd.importing.model import load_model

    where = str(find_file(str(settings["onnx"]), folders))
    if settings.get("weights", OWN) != OWN:
        remedy = f"Write `weights: {OWN}`"
        raise HakdError("an ONNX file brings its own weights", where=where, key="weights", remedy=remedy)
    model = load_model(where, image=image, keep_dropout=True)
    described = describe(model, where)
    return where, described, _run(where, model.source, _probe(image))


def _run(path: str, source: str, images: np.ndarray) -> np.ndarray:
    """The logits that onnxruntime computes with the file as it is."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        fixed = session.get_inputs()[0].shape[0]
        size = fixed if isinstance(fixed, int) else len(images)
        batches = [np.concatenate([images[i : i + 1]] * size) for i in range(len(images))]
        runs = [session.run(None, {source: batch})[0][:1] for batch in batches]
    except Exception as error:  # what it is depends on the fault
        words = f"onnxruntime cannot run it ({' '.join(str(error).split())[:200]})"
        raise HakdError(words, where=path, remedy="Export it again") from None
    return np.concatenate(runs)


def _probe(image: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(_SEED).standard_normal((_PROBES, *image)).astype(np.float32)


def _compare(described: Description, image: Sequence[int], logits: np.ndarray, where: str) -> None:
    """Refuse a description that computes something else than the original.

    What counts is how far outputs lie apart for different images: what all have in common could hide a difference.
    """
    import torch

    from hakd.networks.module import network_with

    graph = described.graph(image[0], image[1:])
    with torch.no_grad():
        made = network_with(graph, described.weights).eval()(torch.from_numpy(_probe(image)))
    if described.softmax:
        made = getattr(torch, "softmax" if described.softmax == "Softmax" else "log_softmax")(made, 1)
    made = made.numpy().reshape(logits.shape)
    spread = np.abs(logits - logits.mean(0)).max()
    worst = np.abs(made - logits).max()
    if not worst <= _TOLERANCE * spread + _ROUNDING * np.abs(logits).max():
        words = f"what was read of it computes something else: {worst:.2g} beside outputs that differ by {spread:.2g}"
        remedy = "Give its ONNX file to `hakd explain`, which takes it as it is, and report this"
        raise HakdError(words, where=where, remedy=remedy)
