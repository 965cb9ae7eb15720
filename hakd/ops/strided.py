"""Torch's form of 1 x 1 convolutions with a stride. Imports torch, so that the ops themselves need not."""

import torch
from torch import nn


class StridedPointwise(nn.Conv2d):
    """A 1 x 1 convolution with a stride, as a convolution of the pixels that it reads.

    The same numbers, by a way around oneDNN's kernel for it: with 2 to 7 input channels in `channels_last` its gradient
    of the weights writes past its memory on processors with AVX2 (seen with oneDNN 3.13.3 of torch 2.15: the process
    ends in "double free or corruption"). Shortcuts of narrow residual networks have such shapes.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As `nn.Conv2d`."""
        down, across = self.stride
        return nn.functional.conv2d(x[:, :, ::down, ::across], self.weight, self.bias, groups=self.groups)
