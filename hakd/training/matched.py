"""As many images as pruning and fine-tuning saw: the budget of a network that is trained from random weights."""

import math


def steps_of(images: int, split: int, batch_size: int) -> int:
    """Steps that see at least as many images, whole epochs first; at most a batch too many.

    Args:
        images: to see.
        split: images of the training split.
        batch_size: a last batch of one image joins the one before it (`hakd.data.split.Split.batches`).
    """
    batches, rest = divmod(split, batch_size)
    an_epoch = batches + (rest > 1 or not batches)
    epochs, left = divmod(images, split)
    return epochs * an_epoch + min(math.ceil(left / batch_size), an_epoch)
