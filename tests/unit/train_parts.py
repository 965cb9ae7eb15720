"""What `train_size` must leave alone, of any data set."""

from pathlib import Path

import numpy as np

from hakd.data import prepare
from hakd.data.stored import Stored, read


def part_of_train(settings: dict, size: int, folder: Path) -> tuple[Stored, Stored]:
    """The train split of all images and of `size` of them; what has to be the same is checked."""
    prepare(settings, folder / "all")
    prepare({**settings, "train_size": size}, folder / "part")
    for split in ("validation", "test"):
        full, part = (read(folder / which / f"{split}.npz") for which in ("all", "part"))
        for array in ("images", "labels", "ids"):
            np.testing.assert_array_equal(getattr(part, array), getattr(full, array))
        assert full.mean != part.mean == read(folder / "part" / "train.npz").mean
    full, part = (read(folder / which / "train.npz") for which in ("all", "part"))
    assert len(part.labels) == len(part.images) == size
    assert full.dataset != part.dataset == read(folder / "part" / "test.npz").dataset
    place = [full.ids.tolist().index(one) for one in part.ids]
    assert len(set(place)) == size
    np.testing.assert_array_equal(part.images, full.images[place])
    np.testing.assert_array_equal(part.labels, full.labels[place])
    counts, of = (np.bincount(one.labels, minlength=len(full.classes)) for one in (part, full))
    np.testing.assert_allclose(counts, size * of / of.sum(), atol=1.5)
    return full, part
