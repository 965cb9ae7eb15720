"""Compressed sparse row (CSR) matrices of decoded layers: what sparse storage does to speed; see docs."""

import numpy as np
from scipy import sparse


def csr(weights: np.ndarray, groups: int = 1) -> sparse.csr_matrix:
    """A layer's weights as the sparse matrix that multiplies im2col columns.

    Args:
        weights: float32; linear (outs, ins), or convolution (outs, ins / groups, k, k).
        groups: of the convolution; a depthwise one has as many as channels and becomes block diagonal.

    Returns:
        Shape (outs, ins * k * k): row o holds output channel o, columns go by (input channel, row, column).
    """
    flat = weights.reshape(len(weights), -1)
    if len(weights) % groups:
        raise ValueError(f"{len(weights)} output channels do not split into {groups} groups")
    blocks = [sparse.csr_matrix(block) for block in np.split(flat, groups)]
    return sparse.csr_matrix(sparse.block_diag(blocks)) if groups > 1 else blocks[0]


def im2col(images: np.ndarray, kernel: int, stride: int = 1, padding: int = 0) -> np.ndarray:
    """Patches of images as columns.

    Args:
        images: float32 (N, C, H, W).

    Returns:
        Contiguous float32 (C * kernel * kernel, N * H' * W'), columns by (image, row, column).
    """
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    patches = patches[:, :, ::stride, ::stride]
    return np.ascontiguousarray(patches.transpose(1, 4, 5, 0, 2, 3)).reshape(
        images.shape[1] * kernel * kernel, -1
    )


def sparse_forward(
    matrix: sparse.csr_matrix, images: np.ndarray, kernel: int, stride: int = 1, padding: int = 0
) -> np.ndarray:
    """Convolution with a matrix of `csr`: float32 (N, outs, H', W')."""
    out = matrix @ im2col(images, kernel, stride, padding)
    height = (images.shape[2] + 2 * padding - kernel) // stride + 1
    width = (images.shape[3] + 2 * padding - kernel) // stride + 1
    return out.reshape(matrix.shape[0], len(images), height, width).transpose(1, 0, 2, 3)
