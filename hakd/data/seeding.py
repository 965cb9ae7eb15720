"""Seeds for independent random streams, the same on every device."""

import numpy as np


def stream_seed(stream: str, *numbers: int) -> int:
    """A 63-bit seed for the stream called `stream`, from non-negative numbers such as (seed, epoch).

    Streams of different names share nothing, so that, for instance, turning augmentation off leaves the order of the
    images as it is.
    """
    words = np.random.SeedSequence([*numbers, *stream.encode()]).generate_state(2)
    return ((int(words[0]) << 32) | int(words[1])) >> 1


def numpy_generator(stream: str, *numbers: int) -> np.random.Generator:
    """NumPy's generator of a stream."""
    return np.random.default_rng(stream_seed(stream, *numbers))
