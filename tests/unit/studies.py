"""Settings of a small study and of a small data set."""

from hakd.study.candidates import Origin
from hakd.study.searches import searches

CONFIG = {
    "run": {
        "devices": ["a"],
        "networks": ["n"],
        "levels": [0.5, 1],
        "seeds": [0, 3],
        "methods": ["teacher", "hakd"],
    },
    "data": {"name": "digits"},
    "networks": {"n": {"family": "mobilenet", "multiplier": 0.25}},
    "devices": {"a": {"threads": 1}, "b": {"threads": 2.0}},
    "students": {
        "recipes": {"hakd": ["distilled", "tuned"], "fisher": ["scratch"]},
        "losses": ["ce", "logits", "at"],
    },
    "choosing": {"budgets": [{"like": "fisher"}], "reach": 0.4},
    "deep_compression": {"densities": [0.1]},
}


def origin(level: float, network: str = "n") -> Origin:
    """Of candidates of the first search of `CONFIG`."""
    return Origin(network, level, searches(CONFIG)[0])


CLUTTERED = {"name": "cluttered-digits", "epoch_images": 300, "validation_images": 200, "test_images": 400}
