"""Where every byte of a compressed file goes, stage by stage (Han et al., arXiv 1510.00149, tables 1 to 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hakd.deep_compression.codec import decode_tensors, layer_bytes, read_directory, sizes, stored_bytes
from hakd.deep_compression.tensors import QuantisedTensor, Tensor, entries
from hakd.records.text import printable

STAGES = ("dense", "pruned", "shared", "coded")
OTHERS = ("batch norm", "biases and others")


@dataclass(frozen=True)
class LayerStages:
    """A weight tensor at every stage.

    Args:
        name, kind: as in the file.
        shape: of the weights.
        nonzero: weights that were not pruned.
        entries: what is stored, fillers too.
        shared_values: of its codebook, without zero; None: weights keep their own values.
        code_bits, index_bits: of fixed length (the paper's P+Q).
        coded_code_bits, coded_index_bits: mean bits of an entry after Huffman coding, without tables.
        stages: bytes by stage of `STAGES`. `dense`: float32. `pruned`: a float32 and an index difference an entry.
            `shared`: a code and an index difference an entry, and the codebook. `coded`: what is in the file. The last
            two are those before for a tensor that is not shared.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    nonzero: int
    entries: int
    shared_values: int | None
    code_bits: int
    index_bits: int
    coded_code_bits: float
    coded_index_bits: float
    stages: dict[str, int]

    @property
    def weights(self) -> int:
        """Weights, zeros too."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Inspection:
    """A file taken apart.

    Args:
        header: what its writer put there.
        layers: its weight tensors.
        others: bytes in the file and as float32 of all other arrays, by kind of `OTHERS`.
        parts: bytes of each part of the file; they sum to its length.
    """

    header: dict[str, Any]
    layers: list[LayerStages]
    others: dict[str, tuple[int, int]]
    parts: dict[str, int]

    def total(self, stage: str) -> int:
        """Bytes of the whole network at a stage; the last is the file. Before it other arrays are float32."""
        if stage == STAGES[-1]:
            return sum(self.parts.values())
        weights = sum(layer.stages[stage] for layer in self.layers)
        return weights + sum(dense for _, dense in self.others.values())


def inspect_file(content: bytes, where: object = None) -> Inspection:
    """Take a file apart.

    Args:
        content: its bytes.
        where: its name, for errors.

    Raises:
        HakdError: as `codec.decode`.
    """
    tensors, others, header = decode_tensors(content, where)
    directory = read_directory(content, where)
    streams = layer_bytes(directory)
    norms = {name.rpartition(".")[0] for name in others if name.endswith(".running_var")}
    kinds = dict.fromkeys(OTHERS, (0, 0))
    for name, shape, form in directory["others"]:
        kind = OTHERS[name.rpartition(".")[0] not in norms]
        stored, dense = kinds[kind]
        kinds[kind] = stored + stored_bytes(shape, form), dense + others[name].nbytes
    layers = [_stages(tensor, streams[tensor.name]) for tensor in tensors]
    return Inspection(header, layers, kinds, sizes(content, where))


def _stages(tensor: Tensor, stored: Mapping[str, int]) -> LayerStages:
    """A tensor at every stage."""
    if isinstance(tensor, QuantisedTensor):
        flat, values = tensor.codes, len(tensor.codebook) - 1
    else:
        flat, values = tensor.values, None
    count, bits = len(entries(flat.ravel(), tensor.index_bits)[0]), tensor.index_bits
    code_bits = 32 if values is None else max(1, values.bit_length())
    pruned = -(-count * (32 + bits) // 8)
    shared = -(-count * (code_bits + bits) // 8) + 4 * (values or 0)
    stages = {"dense": 4 * flat.size, "pruned": pruned, "shared": shared, "coded": sum(stored.values())}
    coded = {part: 8 * stored.get(part, 0) / max(1, count) for part in ("codes", "values", "indices")}
    return LayerStages(
        tensor.name, tensor.kind, tensor.shape, tensor.nonzero, count, values, code_bits, bits,
        coded["codes"] + coded["values"], coded["indices"], stages,
    )  # fmt: skip


def as_dict(inspection: Inspection) -> dict[str, Any]:
    """For JSON: layers, other arrays, parts and totals, all in bytes."""
    return {
        "layers": [{**asdict(layer), "weights": layer.weights} for layer in inspection.layers],
        "others": {kind: {"dense": dense, "coded": own} for kind, (own, dense) in inspection.others.items()},
        "parts": inspection.parts,
        "total": {stage: inspection.total(stage) for stage in STAGES},
    }


def as_text(inspection: Inspection) -> list[str]:
    """Lines for a terminal: bytes by layer and stage, rates, and the parts of the file."""
    head = ("", "weights", "left %", *STAGES, "bits", "coded", "index", "coded", "P", "P+Q", "P+Q+H")
    rows = [head, *map(_layer_row, inspection.layers)]
    for kind, (own, dense) in inspection.others.items():
        rows.append((kind, dense // 4, "", dense, dense, dense, own, *[""] * 7))
    header = inspection.parts["header"]
    rows.append(("header", "", "", 0, 0, 0, header, *[""] * 7))
    totals = [inspection.total(stage) for stage in STAGES]
    weights = sum(layer.weights for layer in inspection.layers)
    left = sum(layer.nonzero for layer in inspection.layers)
    rows.append(("total", "", _percent(left, weights), *totals, *[""] * 4, *_rates(totals)))
    texts = [[cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows]
    wide = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(size) if place else cell.ljust(size)
            for place, (cell, size) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in texts
    ]
    parts = [
        f"{part} {size:,} ({_percent(size, totals[-1])} %)" for part, size in inspection.parts.items() if size
    ]
    return [*lines, "", f"The file's {totals[-1]:,} bytes: {', '.join(parts)}."]


def _layer_row(layer: LayerStages) -> tuple[Any, ...]:
    sizes_ = [layer.stages[stage] for stage in STAGES]
    bits = (
        layer.code_bits,
        f"{layer.coded_code_bits:.2f}",
        layer.index_bits,
        f"{layer.coded_index_bits:.2f}",
    )
    return (
        printable(layer.name, 60),
        layer.weights,
        _percent(layer.nonzero, layer.weights),
        *sizes_,
        *bits,
        *_rates(sizes_),
    )


def _rates(sizes_: Sequence[int]) -> list[str]:
    """Bytes as float32 over the bytes of each stage behind it."""
    return [f"{sizes_[0] / size:.1f}" if size else "" for size in sizes_[1:]]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""
