"""One step of SGD: forward, loss, backward, update. On CUDA it is recorded once and replayed as one graph.

Small networks are bound by the launches of their kernels, not by their arithmetic. A recorded step reads and writes
the same memory at every replay: batches are copied into buffers, the learning rate is a tensor, and nothing waits for
the device. What is recorded also runs unrecorded, on the CPU too, where the tests compare it with `torch.optim.SGD`.

Rules for a capture: https://docs.pytorch.org/docs/stable/notes/cuda.html, "CUDA Graphs".
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from hakd.training.optimiser import SGD

Loss = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
Hook = Callable[[nn.Module], None]

log = logging.getLogger(__name__)
_WARM_UP = 3  # steps before the capture: libraries set themselves up, momentum is made


def do_nothing(module: nn.Module) -> None:
    """The hook of a step that needs none."""


class TensorRateSGD(SGD):
    """SGD as torch's, whose learning rate is a tensor that the host never reads, which would wait for the device."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of all parameters."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            found = [parameter.grad for parameter in parameters]
            gradients = list(torch._foreach_add(found, parameters, alpha=group["weight_decay"]))
            if group["momentum"]:
                buffers = [self._momentum(parameter) for parameter in parameters]
                torch._foreach_mul_(buffers, group["momentum"])
                torch._foreach_add_(buffers, gradients)
                if group["nesterov"]:
                    torch._foreach_add_(gradients, buffers, alpha=group["momentum"])
                else:
                    gradients = buffers
            torch._foreach_sub_(parameters, torch._foreach_mul(gradients, group["lr"]))

    def _momentum(self, parameter: torch.Tensor) -> torch.Tensor:
        """Its momentum, from zero as torch's is after the first step."""
        state = self.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: torch.Tensor = state["momentum_buffer"]
        return buffer


class Step:
    """`step(images, labels, lr)` takes one step and returns the loss before it, a tensor on the device.

    Args:
        module: the network, on its device.
        loss: scalar loss of (module, images, labels). Where steps are fixed, a function of these alone: whatever else
            it reads on the host is read when it is recorded.
        momentum, weight_decay, nesterov: of SGD.
        after_backward, after_step: hooks around the update.
        fixed: take batches of the first one's shape through buffers, so that CUDA can record the step; others run
            unrecorded. Without, each step is a plain one with `torch.optim.SGD`.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        *,
        momentum: float,
        weight_decay: float,
        nesterov: bool = False,
        after_backward: Hook = do_nothing,
        after_step: Hook = do_nothing,
        fixed: bool = False,
    ) -> None:
        self.module, self._loss = module, loss
        self._hooks = after_backward, after_step
        first = next(module.parameters())
        device = first.device
        self._rate = first.new_zeros(()) if fixed else None
        self.optimiser = (TensorRateSGD if fixed else SGD)(
            module.parameters(), 0.0, momentum, weight_decay=weight_decay, nesterov=nesterov
        )
        self._stream = torch.cuda.Stream(device) if fixed and device.type == "cuda" else None
        self._images = self._labels = self._result = torch.empty(0)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = 0
        self.problem = "" if self._stream else "no CUDA" if fixed else "not asked for"

    @property
    def recorded(self) -> bool:
        """Whether steps are replays of a recorded one; if not, `problem` says why (empty: not yet)."""
        return self._graph is not None

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, lr: float) -> torch.Tensor:
        rate = lr if self._rate is None else self._rate.fill_(lr)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self._rate is None:
            return self._run(images, labels)
        if self._warm < _WARM_UP and len(images) > len(
            self._images
        ):  # the first may be the short one of an epoch
            self._images, self._labels, self._warm = torch.empty_like(images), torch.empty_like(labels), 0
        if images.shape != self._images.shape:
            with self._beside():
                return self._run(images, labels)
        self._images.copy_(images)
        self._labels.copy_(labels)
        if self._stream and self._warm == _WARM_UP:
            self._record()
        self._warm += 1
        if self._graph is not None:
            self._graph.replay()
            return self._result.clone()
        with self._beside():
            return self._run(self._images, self._labels)

    def _run(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The step itself."""
        after_backward, after_step = self._hooks
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(self.module, images, labels)
        loss.backward()
        after_backward(self.module)
        self.optimiser.step()
        after_step(self.module)
        return loss.detach()

    def _record(self) -> None:
        """Record the step, or remember why it cannot be; nothing is computed.

        Gradients are given up before: those of the recorded backward pass live in the graph's own memory.
        """
        graph = torch.cuda.CUDAGraph()
        self.optimiser.zero_grad(set_to_none=True)
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._result = self._run(self._images, self._labels)
            self._graph = graph
        except Exception as error:  # whatever it is, the same step runs unrecorded
            self.problem = str(error).partition("\n")[0] or type(error).__name__
            log.warning("steps are not recorded as a CUDA graph, which is slower: %s", self.problem)
            self.optimiser.zero_grad(set_to_none=True)

    @contextlib.contextmanager
    def _beside(self) -> Iterator[None]:
        """On the stream of the capture: what autograd keeps of a parameter must not remember another stream."""
        if self._stream is None:
            yield
            return
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)
