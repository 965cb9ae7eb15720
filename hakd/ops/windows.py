"""Where the windows of convolutions and poolings lie on an image."""

from hakd.ops.op import Op, Placed, Sides

Edges = tuple[tuple[int, int], ...]  # pixels in front of and behind an image, along height and width


def reach(op: Op) -> Sides:
    """Pixels from the first to the last place of a window, down and across."""
    (height, width), (down, across) = op.kernel, op.dilation
    return (down * (height - 1) + 1, across * (width - 1) + 1)


def beyond(at: Placed) -> Edges:
    """Pixels that windows need around the image: the padding, and more behind it where sizes are rounded up."""
    op = at.op
    sides = zip(at.ins[0].size, at.out.size, op.padding, op.stride, reach(op), strict=True)
    return tuple(
        (padding, max(padding, (made - 1) * stride + window - side - padding))
        for side, made, padding, stride, window in sides
    )
