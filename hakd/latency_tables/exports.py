"""Latency tables in the formats that other tools read: HALP, Once-for-all, NetAdapt.

The formats are taken from the tools' sources: NVlabs/HALP `prune/cost.py`, mit-han-lab/once-for-all
`ofa/nas/efficiency_predictor/latency_lookup_table.py`, denru01/netadapt `functions.py`. All three add up layers; hakd's
tables time parts of several layers (see docs/commands.md). HALP and NetAdapt read pickles: here they are JSON, and
docs/commands.md shows how to convert it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from hakd.latency_tables.parts import Layer, TablePart
from hakd.records.errors import HakdError
from hakd.records.files import write_bytes

SUFFIX = {"csv": ".csv", "json": ".json", "halp": ".json", "ofa": ".yaml", "netadapt": ".json"}


@dataclass
class Export:
    """What is written, the parts that the format cannot hold, and notes for the reader."""

    content: dict[str, Any]
    left_out: dict[str, list[str]] = field(default_factory=dict)  # names of parts by reason
    notes: list[str] = field(default_factory=list)


def halp(parts: Sequence[TablePart], batch: int) -> Export:
    """`{batch_cin_cout_size_kernel_stride_groups: milliseconds}`, size being that of the input.

    HALP adds up convolutions, so the time of a part is written for one of them, and 0 for its others. Parts that have
    the same key share their mean.
    """
    made = Export({})
    times: dict[str, dict[str, float]] = {}
    for part in parts:
        if part.carrier.kind != "conv":
            made.left_out.setdefault("not a convolution", []).append(part.group)
            continue
        if not all(layer.square for layer in part.layers):
            made.left_out.setdefault("height and width differ", []).append(part.group)
            continue
        times.setdefault(_halp_key(part.carrier, batch), {})[part.shape] = part.latency_ms
        for layer in part.covered:
            if layer.kind == "conv":
                times.setdefault(_halp_key(layer, batch), {})
    made.content = {key: fmean(shapes.values()) if shapes else 0.0 for key, shapes in times.items()}
    shared = sum(len(shapes) > 1 for shapes in times.values())
    if shared:
        made.notes.append(
            f"{shared} keys are shared by several parts (with other strides before them): the mean is written"
        )
    return made


def _halp_key(layer: Layer, batch: int) -> str:
    sides = (layer.size_in[0], layer.kernel[0], layer.stride[0])
    sizes = (batch, layer.cin, layer.cout, *sides, layer.groups)
    return "_".join(map(str, sizes))


def ofa(parts: Sequence[TablePart], batch: int) -> Export:
    """`{type-input:HxWxC-output:HxWxC[-expand:-kernel:-stride:-idskip:]: {mean: milliseconds, count: bursts}}`.

    The keys of Once-for-all's ProxylessNAS table, whose layers are whole blocks, as in hakd.
    """
    made = Export({})
    for part in parts:
        key = _ofa_key(part)
        if key is None:
            made.left_out.setdefault("not a layer type of Once-for-all", []).append(part.group)
        else:
            made.content[key] = {"mean": part.latency_ms, "count": int(part.bursts)}
    if batch != 1:
        made.notes.append(f"timed with batch {batch}, which the keys do not hold")
    return made


def _ofa_key(part: TablePart) -> str | None:
    layers = part.layers
    first, last = layers[0], layers[-1]
    source, made = _place(first.size_in, first.cin), _place(last.size_out, last.cout)
    if last.kind == "linear" and len(layers) == 1:
        image = part.graph.tensors[part.graph.inputs[0]].size
        return f"Logits-input:{_place(image or (1, 1), last.cin)}-output:{last.cout}"
    if part.first and len(layers) == 1:
        return f"Conv-input:{source}-output:{made}"
    kinds = "".join("d" if layer.depthwise else "p" if layer.kernel == (1, 1) else "?" for layer in layers)
    merged = {"concat", "add"} & {op.kind for op in part.graph.ops}
    if kinds not in ("dp", "pdp") or merged:
        return None
    middle = layers[-2]
    if middle.cin % first.cin or not middle.square:
        return None
    about = f"expand:{middle.cin // first.cin}-kernel:{middle.kernel[0]}-stride:{middle.stride[0]}-idskip:0"
    return f"expanded_conv-input:{source}-output:{made}-{about}"


def _place(size: Sequence[int], channels: int) -> str:
    return "x".join(map(str, (*size, channels)))


def netadapt(parts: Sequence[TablePart], batch: int) -> Export:
    """`{layer: {..., "latency": {"cin,cout": seconds}}}`; the pair is a tuple in NetAdapt's own file.

    Depthwise layers, and others whose time is written for another layer, take 0 at two pairs, to interpolate to 0.
    """
    made = Export({})
    for part in parts:
        own = part.carrier
        times = _netadapt_layer(made.content, own, batch)["latency"]
        times[f"{own.cin},{own.cout}"] = part.latency_ms / 1e3
        for layer in part.covered:
            _netadapt_layer(made.content, layer, batch)
    for about in made.content.values():
        if not about["latency"]:
            wide = (about["num_in_channels"], about["num_out_channels"])
            about["latency"] = (
                {"1,1": 0.0, f"{wide[0]},{wide[1]}": 0.0} if wide != (1, 1) else {"1,1": 0.0, "2,2": 0.0}
            )
    thin = [name for name, about in made.content.items() if len(about["latency"]) < 2]
    if thin:
        made.notes.append(
            f"{len(thin)} layers have one pair of widths, between which NetAdapt cannot interpolate"
        )
    return made


def _netadapt_layer(content: dict[str, Any], layer: Layer, batch: int) -> dict[str, Any]:
    """The entry of a layer; its own widths are the largest seen."""
    linear = layer.kind == "linear"
    entry = content.setdefault(
        layer.name,
        {
            "is_depthwise": layer.depthwise,
            "num_in_channels": layer.cin,
            "num_out_channels": layer.cout,
            "kernel_size": list(layer.kernel),
            "stride": list(layer.stride),
            "padding": list(layer.padding),
            "groups": layer.groups,
            "layer_type_str": "Linear" if linear else "Conv2d",
            "input_feature_map_size": [batch, layer.cin, 1, 1]
            if linear
            else [batch, layer.cin, *layer.size_in],
            "latency": {},
        },
    )
    if layer.cin * layer.cout > entry["num_in_channels"] * entry["num_out_channels"]:
        entry |= {"num_in_channels": layer.cin, "num_out_channels": layer.cout, "groups": layer.groups}
        entry["input_feature_map_size"][1] = layer.cin
    return entry


FORMATS: Mapping[str, Callable[[Sequence[TablePart], int], Export]] = {
    "halp": halp,
    "ofa": ofa,
    "netadapt": netadapt,
}


def write_export(path: str, content: Mapping[str, Any]) -> None:
    """Write an export as JSON or, for `.yaml`, as YAML; the file has no header, because other tools read it.

    Raises:
        HakdError: nothing to write.
    """
    if not content:
        remedy = "Give a table with trusted tiles (`hakd sweep` without --groups), or --of block"
        raise HakdError("none of the rows fits this format", where=path, remedy=remedy)
    if Path(path).suffix in (".yaml", ".yml"):
        import yaml

        text = yaml.safe_dump(dict(content), sort_keys=False, width=1000)
    else:
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_bytes(path, text.encode())
