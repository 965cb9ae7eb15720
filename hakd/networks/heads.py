"""The layer of an imported network that makes its logits: marked, or replaced for another number of classes."""

from dataclasses import replace

import numpy as np

from hakd.importing.describing import Description
from hakd.importing.rows import CLASSES, Row, Rows
from hakd.ops.kinds import KINDS
from hakd.ops.op import Op, Rule
from hakd.records.errors import HakdError

_SEED = 0
_FRESH = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}  # of a batch norm
_SLOPE = 0.25  # torch's own, of a PReLU


def for_classes(
    described: Description, classes: int | None, where: str
) -> tuple[Rows, dict[str, np.ndarray], str]:
    """Rows and weights for the data's classes: the layer that makes the logits is marked, or replaced; what was done.

    What else has a value for each class behind that layer gets its initial values, as the layer does.

    Args:
        described: the network as it was read.
        classes: of the data; None: as the network has them.
        where: the network, for messages.

    Raises:
        HakdError: other classes, and no single layer that makes the logits.
    """
    rows, weights = described.rows, dict(described.weights)
    head, behind = _head(rows)
    if head is None:
        made = described.classes
        if classes not in (None, made):
            words = f"it gives {made} values, the data have {classes} classes, and no single layer makes them"
            raise HakdError(words, where=where, remedy="Build the network for these classes")
        return rows, weights, ""
    rows = rows.replaced({head.name: replace(head, made=CLASSES)})
    if classes is None or head.made == classes:
        return rows, weights, ""
    random = np.random.default_rng(_SEED)
    bound = weights[f"{head.name}.weight"][0].size ** -0.5  # torch's own, of linear layers and convolutions
    for name in (f"{head.name}.weight", f"{head.name}.bias"):
        if name in weights:
            shape = (classes, *weights[name].shape[1:])
            weights[name] = random.uniform(-bound, bound, shape).astype(np.float32)
    for row in behind:
        for key in ("weight",) if row.kind == "prelu" else _FRESH if row.kind == "batch_norm" else ():
            value = _SLOPE if row.kind == "prelu" else _FRESH[key]
            weights[f"{row.name}.{key}"] = np.full(classes, value, np.float32)
    words = f"its head {head.name} gives {head.made} values: replaced by one for {classes} classes"
    return rows, weights, words


def _head(rows: Rows) -> tuple[Row | None, list[Row]]:
    """The one layer whose outputs are the logits, each channel a value (None: there is none), and what follows it."""
    row, behind = rows.by_name[rows.output], list[Row]()
    while True:
        rule = KINDS[row.kind].rule_of(Op(row.kind, row.name, row.inputs, row.name, "", row.attributes))
        if rule is Rule.MAKES:
            plain = row.kind != "conv_transpose" and row.attributes.get("groups", 1) == 1
            return (row if plain else None), behind
        alone = all(len(rows.users.get(name, ())) == 1 for name in row.inputs)
        if rule is not Rule.KEEPS or row.kind == "conv" or row.inputs[0] not in rows.by_name or not alone:
            return None, behind
        behind.append(row)
        row = rows.by_name[row.inputs[0]]
