"""Which file of a candidate a device times: the exported network, or one in int8 for its engine. No heavy imports."""

from collections.abc import Mapping
from typing import Any

from hakd.boards.device import INT8

FORMS = {"onnxruntime": ".int8.onnx", "litert": ".int8.tflite"}
"""How files in int8 end, by engine: beside the exported network, and shared by all devices of the engine."""
FLOAT_FORM = ""


def form_of(settings: Mapping[str, Any]) -> str:
    """The form that a device of these settings times: an ending of `FORMS`, or empty for the exported network."""
    return FORMS[settings.get("engine", "onnxruntime")] if settings.get("precision") == INT8 else FLOAT_FORM


def forms(config: Mapping[str, Any]) -> list[str]:
    """The forms in int8 that the selected devices of a configuration time."""
    found = {form_of(config["devices"][device]) for device in config["run"]["devices"]}
    return sorted(found - {FLOAT_FORM})


def is_int8(path: str) -> bool:
    """Whether a path is that of a file in int8."""
    return path.endswith(tuple(FORMS.values()))
