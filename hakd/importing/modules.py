"""A `torch.nn.Module` that a function of the user's builds, and its ONNX graph.

It goes through `torch.onnx.export`, so one reader takes networks and models.
"""

import contextlib
import importlib
import inspect
import io
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hakd.importing.model import Model, load_model
from hakd.ops.pools import adaptive_means
from hakd.records.errors import HakdError

OPSET = 17
SEED = 0  # of a network whose function draws its weights


def build_module(name: str, folders: Sequence[str | os.PathLike] = ()) -> Any:
    """The network of `package.module:function`, called without arguments, in float32 and out of training.

    Args:
        name: of the function.
        folders: to look for the module in, before the working directory and Python's own path.

    Raises:
        HakdError: no such module or function, a function that fails or gives no `torch.nn.Module`.
    """
    import torch

    module, _, function = name.partition(":")
    places = [*(str(Path(folder).resolve()) for folder in folders), ""]
    sys.path[:0] = [place for place in places if place not in sys.path]
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        remedy = "Write package.module:function; it is looked for beside the configuration and on PYTHONPATH"
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            remedy = f"Install {error.name.partition('.')[0]}"
        raise HakdError(f"no such module ({_words(error)})", where=name, remedy=remedy) from None
    except Exception as error:  # whatever the user's own code raises
        remedy = "Correct the module until Python can import it"
        raise HakdError(
            f"its module fails{_place(error)} ({_words(error)})", where=name, remedy=remedy
        ) from None
    build = getattr(imported, function, None)
    if not callable(build):
        problem = f"{module} has no function {function!r}"
        raise HakdError(problem, where=name, remedy="Write package.module:function")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            network = build()
    except Exception as error:
        remedy = "It is called without arguments: give one that needs none"
        raise HakdError(f"it fails{_place(error)} ({_words(error)})", where=name, remedy=remedy) from None
    if not isinstance(network, torch.nn.Module):
        remedy = "Return the network from it"
        raise HakdError(f"gives {type(network).__name__}, no torch.nn.Module", where=name, remedy=remedy)
    return network.eval().float().cpu()


def module_model(
    network: Any, image: Sequence[int], where: str, batch: int = 1, keep_dropout: bool = False
) -> Model:
    """A network as an ONNX model.

    Args:
        network: out of training; its batch norms stay layers of their own.
        image: shape of an input without its batch.
        where: what to call it in messages.
        batch: images in an input.
        keep_dropout: keep dropout layers, which networks that are trained need.

    Raises:
        HakdError: a network that takes several inputs, decides by the values of an image, does not take such an image,
            or cannot be exported.
    """
    import torch

    _check_inputs(network, where)
    images = torch.randn(1, *image, generator=torch.Generator().manual_seed(SEED))
    _run_once(network, images, where)
    with tempfile.TemporaryDirectory() as folder, _dropouts(network, keep_dropout):
        path = Path(folder, "network.onnx")
        try:
            with (
                warnings.catch_warnings(),
                contextlib.redirect_stdout(io.StringIO()),
                torch.no_grad(),
                _adaptive(),
            ):
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    network,
                    (images,),
                    str(path),
                    dynamo=False,  # the other exporter needs a further package, and names nodes itself
                    opset_version=OPSET,
                    training=torch.onnx.TrainingMode.PRESERVE,  # as it is, with its batch norms
                    do_constant_folding=False,  # the reader does it
                    keep_initializers_as_inputs=True,  # else parameters of equal values become one
                )
        except Exception as error:
            remedy = "See torch.onnx.export, or export it yourself and give the file (`onnx:`)"
            words = f"torch cannot export it{_place(error)} ({_words(error)})"
            raise HakdError(words, where=where, remedy=remedy) from None
        return load_model(path, batch, keep_dropout=keep_dropout)


def _check_inputs(network: Any, where: str) -> None:
    """Refuse a forward that wants more than images."""
    try:
        parameters = inspect.signature(network.forward).parameters.values()
    except (TypeError, ValueError):
        return
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    needed = [one.name for one in parameters if one.default is one.empty and one.kind in kinds]
    if len(needed) > 1:
        words = f"its forward takes {len(needed)} inputs ({', '.join(needed)})"
        raise HakdError(words, where=where, remedy="Give a network that takes images alone")


def _run_once(network: Any, images: Any, where: str) -> None:
    """Refuse a network that does not take the images, or decides by their values: a graph has one way only."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    decided: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten._local_scalar_dense.default:
                decided.append(_line(traceback.extract_stack()))
            return func(*args, **(kwargs or {}))

    shape = ",".join(map(str, images.shape[1:]))
    try:
        with torch.no_grad(), warnings.catch_warnings(), Watch():
            warnings.simplefilter("ignore")
            network(images)
    except Exception as error:
        remedy = "Give an image that it takes: its channels as the data's, and `input_size` or --input"
        words = f"it does not take an image of {shape}{_place(error)} ({_words(error)})"
        raise HakdError(words, where=where, remedy=remedy) from None
    if decided:
        words = f"it reads a number out of a tensor{decided[0]}, so that what it does depends on the image"
        raise HakdError(words, where=where, remedy="Write it so that every image goes the same way")


def _line(stack: traceback.StackSummary) -> str:
    """The last line of somebody else than torch and this file."""
    own = (str(Path(__file__)), f"{os.sep}torch{os.sep}", "importlib")
    frames = [one for one in stack if not any(part in one.filename for part in own)]
    return f" in {os.path.relpath(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""


def _place(error: BaseException) -> str:
    """Where the user's own code failed."""
    hakd = f"{os.sep}hakd{os.sep}"
    stack = [one for one in traceback.extract_tb(error.__traceback__) if hakd not in one.filename]
    return _line(traceback.StackSummary.from_list(stack))


@contextlib.contextmanager
def _dropouts(network: Any, keep: bool) -> Iterator[None]:
    """Dropout layers in training, so that the export has them; everything else stays out of it."""
    from torch.nn.modules.dropout import _DropoutNd

    layers = [one for one in network.modules() if isinstance(one, _DropoutNd)] if keep else []
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


@contextlib.contextmanager
def _adaptive() -> Iterator[None]:
    """Adaptive pools whose windows differ, which the exporter lacks, as products with the means along each side."""
    import torch
    import torch.nn.functional as F

    original = F.adaptive_avg_pool2d

    def pool(x: Any, output_size: Any) -> Any:
        size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
        wanted = [made or int(side) for side, made in zip(x.shape[2:], size, strict=True)]
        if all(int(side) % made == 0 for side, made in zip(x.shape[2:], wanted, strict=True)):
            return original(x, output_size)
        down, across = (
            torch.from_numpy(adaptive_means(int(side), made))
            for side, made in zip(x.shape[2:], wanted, strict=True)
        )
        return torch.matmul(torch.matmul(down, x), across.T)

    F.adaptive_avg_pool2d = pool  # type: ignore[assignment]
    try:
        yield
    finally:
        F.adaptive_avg_pool2d = original


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
