"""The Pareto plots as one interactive HTML page that needs nothing beside it: data, scripts and styles are inside.

The page is `web/page.html` with the content, the program that draws it (`web/*.js`), and the libraries in `web/vendor`.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.markers import MarkerStyle

from hakd.analysis.series import series_name
from hakd.analysis.summary import CONFIGURATION, aggregate
from hakd.plots import style
from hakd.plots.pareto import numbered
from hakd.records.files import write_bytes
from hakd.records.provenance import provenance
from hakd.records.tables import with_late

WEB = Path(__file__).parent / "web"
VENDOR = WEB / "vendor"
LIBRARIES = ("vega", "vega-lite", "vega-embed")  # in the order in which they need each other
PROGRAM = ("candidates", "panels", "page")  # one script, in this order
FORMAT = 1

# Of a row: an average over seeds, as `aggregate` and `numbered` make it.
_AVERAGED = (
    *("network", "data", "device", "engine", "threads", "number", "method", "budget", "level", "recipe", "loss"),
    *("target_device", "seeds", "accuracy", "accuracy_low", "accuracy_high", "accuracy_min", "accuracy_max"),
    *("bar_low", "bar_high", "val_accuracy", "latency_ms", "latency_low_ms", "latency_high_ms", "predicted_ms"),
    *("size_bytes", "memory_bytes", "weight_bytes", "energy_mj", "macs", "params", "nonzero_params", "search_s"),
    "trusted",
)  # fmt: skip
# Of each training that a row averages.
_TRAINED = (
    *("candidate", "seed", "search_seed", "arch", "accuracy", "latency_ms", "size_bytes"),
    *("checkpoint_path", "onnx_path"),
)


def pareto_page(
    frame: pd.DataFrame, widths: Mapping[str, Mapping[str, int]], path: str | os.PathLike
) -> dict[str, Any]:
    """Write the page: accuracy against latency and a second cost, filters, and a table of what is shown.

    Args:
        frame: a `summary` table, a row per candidate and device.
        widths: channels by width group, by arch.
        path: the HTML file.

    Returns:
        The content: what the page holds as JSON.

    Raises:
        HakdError: a column missing, no rows, a duplicate seed (`aggregate`).
    """
    content = page_content(frame, widths)
    # As JSON inside a script element: a "<" in a name must not end the element.
    text = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    program = "\n".join((WEB / f"{name}.js").read_text() for name in PROGRAM)
    style_sheet = (WEB / "page.css").read_text()
    holes = {"STYLE": style_sheet, "LIBRARIES": _libraries(), "CONTENT": text, "PROGRAM": program}
    head, *rest = (WEB / "page.html").read_text().split("{{")
    filled = [head]
    for part in rest:
        name, _, after = part.partition("}}")
        filled += [holes[name], after]
    write_bytes(path, "".join(filled).encode())
    return content


def page_content(frame: pd.DataFrame, widths: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """What the page shows, as JSON can hold it; see `pareto_page`.

    `candidates` are the rows of `aggregate` in the order of `pareto.pdf`, with the number that each has there, and with
    their `trainings`. Numbers keep seven significant digits.
    """
    trainings = _trainings(frame)
    rows = []
    for _, group in aggregate(frame).groupby(["network", "device", "data"], sort=True):
        for own, row in zip(_keys(group), numbered(group).to_dict("records"), strict=True):
            named = {
                "budget": own[CONFIGURATION.index("budget")],
                "series": series_name(row["method"], row["target_device"], row["budget"]),
                "kind": style.kind_of(row["recipe"], row["loss"]),
                "trainings": trainings[own],
            }
            rows.append({name: plain_value(row.get(name)) for name in _AVERAGED} | named)
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    methods = [method for method in style.METHOD_LOOKS if method in set(frame["method"])]
    return {
        "kind": "pareto page",
        "format": FORMAT,
        "provenance": provenance(),
        "candidates": rows,
        "looks": {method: {kind: _look(method, kind) for kind in kinds} for method in methods},
        "fills": {kind: _look("fisher", kind) for kind in kinds},  # on circles
        "widths": {arch: dict(widths[arch]) for arch in sorted(set(frame["arch"]) & set(widths))},
    }


def plain_value(value: Any) -> Any:
    """A cell as JSON holds it: null for any kind of it, seven significant digits of a number."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _keys(rows: pd.DataFrame) -> Iterator[tuple]:
    """What distinguishes the rows of `aggregate`, the same for null of any kind."""
    for row in rows[list(CONFIGURATION)].itertuples(index=False):
        yield tuple(map(plain_value, row))


def _trainings(frame: pd.DataFrame) -> dict[tuple, list[dict[str, Any]]]:
    """The rows of the summary by the row of `aggregate` that averages them."""
    frame = with_late("summary", frame).sort_values(["search_seed", "seed"], kind="stable")
    found: dict[tuple, list[dict[str, Any]]] = {}
    for key, row in zip(_keys(frame), frame.to_dict("records"), strict=True):
        found.setdefault(key, []).append({name: plain_value(row.get(name)) for name in _TRAINED})
    return found


def _look(method: str, kind: str) -> dict[str, Any]:
    """Colour, marker and its filled part as in `pareto.pdf`; paths as Vega reads them, see `svg_path`."""
    look = style.look(method)
    fill = style.marker(method, kind, 1.0)["fillstyle"]
    return {
        "colour": look.colour,
        "scale": look.scale,
        "outline": svg_path(MarkerStyle(look.marker, "full")),
        "filled": "" if fill == "none" else svg_path(MarkerStyle(look.marker, fill)),
    }


def svg_path(marker: MarkerStyle) -> str:
    """Matplotlib's marker as a path of SVG inside the square from -1 to 1, y down."""
    path = marker.get_path().transformed(marker.get_transform())
    letters = {path.MOVETO: "M", path.LINETO: "L", path.CURVE3: "Q", path.CURVE4: "C", path.CLOSEPOLY: "Z"}
    parts = []
    for points, code in path.iter_segments(simplify=False):
        places = (points.reshape(-1, 2) * (2, -2)).round(3) + 0.0  # no -0
        at = "" if code == path.CLOSEPOLY else " ".join(f"{x:g},{y:g}" for x, y in places)
        parts.append(letters[code] + at)
    return "".join(parts)


def _libraries() -> str:
    """The libraries as script elements, with their licences."""
    texts = []
    for name in LIBRARIES:
        # Without the address of a source map, which developer tools would ask for.
        code = re.sub(r"\n//# sourceMappingURL=.*", "", (VENDOR / f"{name}.min.js").read_text())
        texts.append(f"<script>/*! {name}\n{(VENDOR / f'{name}.LICENSE').read_text()}*/\n{code}</script>")
    return "\n".join(texts)
