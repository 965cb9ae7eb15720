"""Fixed images that tie an exported network to the torch network it came from."""

import numpy as np


def probe_images(shape: tuple[int, ...], count: int = 4) -> np.ndarray:
    """Seeded normal images (count, C, S, S), float32."""
    return np.random.default_rng(20181024).standard_normal((count, *shape)).astype(np.float32)
