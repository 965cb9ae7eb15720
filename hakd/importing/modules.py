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

from hakd.importing.model import Model, model_from
from hakd.importing.reading import read_proto
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
        HakdError: no such module or function, a function that fails or does not return a `torch.nn.Module`.
    """
    import torch

    module, _, function = name.partition(":")
    places = [*(str(Path(folder).resolve()) for folder in folders), ""]
    with _looking_in(places):
        try:
            imported = importlib.import_module(module)
        except ModuleNotFoundError as error:
            remedy = (
                "Write package.module:function; it is looked for beside the configuration and on PYTHONPATH"
            )
            if error.name and not f"{module}.".startswith(f"{error.name}."):
                remedy = f"Install {error.name.partition('.')[0]}"
            raise HakdError(f"no such module ({_words(error)})", where=name, remedy=remedy) from None
        except (Exception, SystemExit) as error:  # whatever the user's own code raises
            remedy = "Correct the module until Python can import it"
            words = f"its module fails{_place(error)} ({_words(error)})"
            raise HakdError(words, where=name, remedy=remedy) from None
        build = getattr(imported, function, None)
        if not callable(build):
            place = getattr(imported, "__file__", None) or "built into Python"
            problem = f"{module} has no function {function!r} (it is {place})"
            raise HakdError(problem, where=name, remedy="Write package.module:function")
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(SEED)
                network = build()
            if isinstance(network, torch.nn.Module):
                return network.eval().float().cpu()
        except (Exception, SystemExit) as error:
            remedy = "It is called without arguments: give one that needs none"
            words = f"it fails{_place(error)} ({_words(error)})"
            raise HakdError(words, where=name, remedy=remedy) from None
    problem = f"returns {type(network).__name__}, not a torch.nn.Module"
    raise HakdError(problem, where=name, remedy="Return the network from it")


@contextlib.contextmanager
def _looking_in(places: Sequence[str]) -> Iterator[None]:
    """Modules are looked for in these folders first; a user's file does not hide a package afterwards."""
    before = [*sys.path]
    sys.path[:0] = [place for place in places if place not in sys.path]
    try:
        yield
    finally:
        sys.path[:] = before


def logits_of(network: Any, images: Any, where: str) -> Any:
    """What a network gives for images: one tensor, which may lie in a tuple, a list or a dictionary.

    Raises:
        HakdError: it does not take such images, or gives anything else.
    """
    import torch

    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = network(images)
    except Exception as error:
        shape = ",".join(map(str, images.shape[1:]))
        remedy = "Give an image that it takes: its channels as the data's, and `input_size` or --input"
        words = f"it does not take an image of {shape}{_place(error)} ({_words(error)})"
        raise HakdError(words, where=where, remedy=remedy) from None
    tensors = [found] if isinstance(found, torch.Tensor) else _tensors(found)
    if len(tensors) != 1:
        words = f"its forward gives {len(tensors)} tensors ({type(found).__name__})"
        raise HakdError(words, where=where, remedy="Give a network that returns only its logits")
    return tensors[0]


def _tensors(found: Any) -> list[Any]:
    import torch

    if isinstance(found, torch.Tensor):
        return [found]
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def module_model(network: Any, image: Sequence[int], where: str, keep_dropout: bool = False) -> Model:
    """A network as an ONNX model.

    Args:
        network: out of training; its batch norms stay separate layers.
        image: shape of an input without its batch.
        where: what to call it in messages.
        keep_dropout: keep dropout layers, which networks that are trained need.

    Raises:
        HakdError: a network that takes several inputs, decides by the values of an image, does not take such an image,
            or cannot be exported.
    """
    import torch

    _check_inputs(network, where)
    images = torch.randn(1, *image, generator=torch.Generator().manual_seed(SEED))
    _check_way(network, images, where)
    with tempfile.TemporaryDirectory() as folder, _dropouts(network, keep_dropout):
        path = Path(folder, "network.onnx")
        export_module(network, images, path, where)
        return model_from(read_proto(path), where, keep_dropout=keep_dropout)


def export_module(network: Any, images: Any, path: str | os.PathLike, where: str) -> None:
    """Write a network as ONNX by torch's exporter, its batch norms and dropout layers as they are.

    Raises:
        HakdError: it cannot be exported.
    """
    import torch

    try:
        with warnings.catch_warnings(), _silence(), torch.no_grad(), _adaptive(), _plain_forward(network):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (images,),
                os.fspath(path),
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
        raise HakdError(words, where=where, remedy="Give a network that takes only images")


def _check_way(network: Any, images: Any, where: str) -> None:
    """Refuse a network that decides by the values of an image, since a graph has one way only, or by chance."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    own = {one.untyped_storage().data_ptr() for one in (*network.parameters(), *network.buffers())}
    decided: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            reads = func is torch.ops.aten._local_scalar_dense.default
            if reads and args[0].untyped_storage().data_ptr() not in own:
                decided.append(_line(traceback.extract_stack()))
            return func(*args, **(kwargs or {}))

    with Watch():
        found = logits_of(network, images, where)
    if decided:
        words = f"it reads a number out of a tensor{decided[0]}, so that what it does depends on the image"
        raise HakdError(words, where=where, remedy="Write it so that every image takes the same path")
    if not torch.allclose(found, logits_of(network, images, where), rtol=1e-3, atol=1e-6, equal_nan=True):
        remedy = "Make `eval()` switch off everything random"
        raise HakdError("its output for the same image changes with each call", where=where, remedy=remedy)


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
    """Dropout layers in training, so that the export has them; everything else stays out of it.

    The exporter lacks those that drop whole channels.
    """
    from torch import nn

    layers = [one for one in network.modules() if type(one) is nn.Dropout] if keep else []
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

    original, signature = F.adaptive_avg_pool2d, inspect.signature(F.adaptive_avg_pool2d)

    def pool(*args: Any, **named: Any) -> Any:
        x, output_size = signature.bind(*args, **named).args
        size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
        wanted = [made or int(side) for side, made in zip(x.shape[2:], size, strict=True)]
        if all(int(side) % made == 0 for side, made in zip(x.shape[2:], wanted, strict=True)):
            return original(x, output_size)
        down, across = (
            torch.from_numpy(adaptive_means(int(side), made))
            for side, made in zip(x.shape[2:], wanted, strict=True)
        )
        return torch.matmul(torch.matmul(down, x), across.T)

    F.adaptive_avg_pool2d = pool
    try:
        yield
    finally:
        F.adaptive_avg_pool2d = original


@contextlib.contextmanager
def _plain_forward(network: Any) -> Iterator[None]:
    """A forward of images alone, without the optional arguments, which the exporter would fill in by place."""
    original = network.forward
    network.forward = lambda images: original(images)
    try:
        yield
    finally:
        del network.forward


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing on stdout and stderr, of torch's compiled code neither: it prints the whole graph where it fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(io.StringIO()):
        try:
            for number in (1, 2):
                os.dup2(nowhere.fileno(), number)
            yield
        finally:
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
