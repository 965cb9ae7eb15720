"""Paths in results/ taken apart: which network, device, level, seed and so on a file belongs to. No heavy imports."""

import re

from hakd.study.belonging import MADE_OF_DEVICES
from hakd.study.candidates import COMPRESSIONS, COPYCAT, PRUNINGS
from hakd.study.precisions import FORMS
from hakd.study.recipes import LOSSES, OF_PRUNING, TRAINED_AS
from hakd.study.searches import PATTERN

RESUME = ".resume"  # how the kept state of a training that was stopped ends
_LEVEL = r"[0-9.]+(?:e-[0-9]+)?"
_PARTS = {
    "network": r"[^/]+",
    "device": r"[^/]+",
    "fleet": r"[^/]+",
    "search": PATTERN,
    "level": _LEVEL,
    "compression": "|".join(COMPRESSIONS),
    "density": _LEVEL,
    "seed": r"[0-9]+",
    "rung": r"[1-9]",
    "arch": r"[0-9a-f]{12}",
    "criterion": "|".join(("fisher", *PRUNINGS)),
    "method": "|".join((*PRUNINGS, COPYCAT)),
    "of_pruning": "|".join(
        (*OF_PRUNING, *(name for name, recipe in TRAINED_AS.items() if recipe in OF_PRUNING))
    ),
    "recipe": "|".join(("scratch", "distilled", *TRAINED_AS)),
    "loss": "|".join(map(re.escape, LOSSES)),
    "form": "|".join(map(re.escape, FORMS.values())),
    "file": "|".join(map(re.escape, MADE_OF_DEVICES)),
}
_TRAINED = r"(\.(safetensors|csv|onnx|hakdc|json)|<form>)"
_FORMS = [  # of the rules' outputs
    r"<network>/network\.safetensors",
    rf"<network>/teacher/<seed>{_TRAINED}",
    rf"<network>/<compression>/<density>-<seed>{_TRAINED}",
    r"<network>/<search><criterion>/<level>\.(safetensors|csv|state|from)",
    r"<network>/<search>latency/<device>\.parquet",
    r"<network>/<search>widths/(<method>/)?<level>\.json",
    r"<network>/<search>snap/<level>/<device>\.json",
    r"<network>/<search>race/<level>/<arch>-<rung>\.safetensors",
    r"<network>/<search>race/<level>/<device>/<rung>\.json",
    r"<network>/<search>fleet/<level>/<fleet>\.json",
    rf"<network>/students/<arch>/<search><of_pruning>-<criterion>-<level>-<loss>-<seed>{_TRAINED}",
    rf"<network>/students/<arch>/<recipe>-<loss>-<seed>{_TRAINED}",
    r"architectures/<arch>\.json",
    r"candidates/<network>/baselines<form>?\.json",
    r"candidates/<network>/<search><level>/<device><form>\.json",
    r"candidates/<network>/<search><level>/<device>\.json",
    r"candidates/<network>/<search><level>/methods/<method><form>?\.json",
    r"candidates/<network>/<search><level>/fleets/<fleet><form>\.json",
    r"candidates/<network>/<search><level>/fleets/<fleet>\.json",
    r"devices/<device>/<file>",
]
_FORM = [
    re.compile(re.sub(r"<(\w+)>", lambda part: f"(?P<{part[1]}>{_PARTS[part[1]]})", form)) for form in _FORMS
]


def parts_of(path: str) -> dict[str, str] | None:
    """What a path names, by kind (`network`, `level`, ...); None: the rules make no file of this form.

    Args:
        path: below results/.
    """
    for form in _FORM:
        match = form.fullmatch(path.removesuffix(RESUME))
        if match:
            found = {name: text for name, text in match.groupdict().items() if text is not None}
            recipe = found.pop("of_pruning", None)
            return found | ({"recipe": recipe} if recipe else {})
    return None
