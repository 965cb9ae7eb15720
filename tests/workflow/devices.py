"""Virtual devices of studies."""

# So slow that the smallest networks take about a millisecond: below that, calls of the engine are all there is.
SLOW = {"overhead_us": 3.0, "us_per_mmac": 20000.0, "depthwise_us_per_mmac": 20000.0}
MODELS = {
    "comb": {**SLOW, "tile_out": 8, "tile_in": 4, "penalty_in": 1.35},
    "slope": SLOW,
    "hump": {**SLOW, "humps": [{"out": [9, 16], "factor": 1.3}]},
}
NOISE = {"sigma": 0.005, "process_sigma": 0.01, "drift": 0.002}


def virtual(model: dict) -> dict:
    """A device as a configuration has it."""
    return {"transport": "virtual", "rounds": 5, "min_step": 0.1, "cost_model": {**model, "noise": NOISE}}
