"""What all figures share: paper, fonts, colours, markers, and writing a PDF whole and the same every time.

Colours are those of Okabe and Ito ("Color universal design", 2008), which differ for readers with any common
colour blindness. Colour is never alone: every method has a marker shape and every recipe a fill,
so grey copies can be read. Compressed students share a fill; the key names their recipe.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from hakd.records.files import atomic

A4_LANDSCAPE = (11.69, 8.27)  # inches
INK, GREY, PALE = "#000000", "#5a5a5a", "#b8b8b8"

_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same on every machine
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "lines.linewidth": 1.0,
    "pdf.fonttype": 42,  # TrueType: text can be searched, copied and edited
    "svg.fonttype": "none",
    "savefig.dpi": 150,
}


@dataclass(frozen=True)
class Look:
    """Colour and marker of a method; `scale` evens out the apparent sizes of the markers."""

    colour: str
    marker: str | tuple[int, int, int]
    scale: float = 1.0


METHOD_LOOKS = {
    "teacher": Look("#000000", "*", 1.5),
    "fisher": Look("#0072B2", "o"),
    "hakd": Look("#D55E00", "s", 0.95),
    "hakd_free": Look("#CC79A7", "D", 0.88),
    "joint": Look("#009E73", "^", 1.1),
    "knapsack": Look("#00735A", "d", 1.1),
    "latency_greedy": Look("#5B8F00", "p", 1.1),
    "race": Look("#B8005C", (3, 1, 0), 1.5),
    "fleet": Look("#5D3A9B", (8, 1, 0), 1.35),
    "round8": Look("#B87A00", (6, 1, 0), 1.3),
    "round16": Look("#E69F00", "v", 1.1),
    "round32": Look("#A85B00", (4, 1, 0), 1.3),
    "uniform": Look("#56B4E9", ">", 1.1),
    "uniform_aligned": Look("#3C7D9E", "<", 1.1),
    "random": Look("#7A7A7A", "X", 1.1),
    "copycat": Look("#2F4B7C", (5, 1, 0), 1.35),
    "l1": Look("#7A7A7A", "P", 1.1),
    "random_order": Look("#A0526D", "H", 1.15),
    "deep_compression": Look("#8C6D00", "h", 1.15),
    "deep_compression_paper": Look("#8C6D00", (7, 1, 0), 1.35),
    "weight_pruning": Look("#6B4F1D", (4, 1, 45), 1.3),
    "ternary": Look("#A33B20", (3, 1, 180), 1.5),
}

# How much of a marker is filled says how the weights were got.
RECIPE_FILLS: dict[str, Any] = {
    "distilled": "full",
    "compressed": "full",
    "pretrained": "full",
    "tuned": "left",
    "tuned with a teacher": "bottom",
    "scratch": "none",
    "scratch_b": "top",
    "tuned_coded": "right",
    "distilled_coded": "right",
    "scratch_coded": "right",
    "tuned_ternary": "right",
    "distilled_ternary": "right",
    "scratch_ternary": "right",
}


def look(method: str) -> Look:
    """The look of a method; methods unknown here are grey pentagons."""
    return METHOD_LOOKS.get(method, Look("#5a5a5a", "p", 1.1))


def text_colour(method: str) -> str:
    """The method's colour, dark enough to be read as small text on white."""
    red, green, blue = to_rgb(look(method).colour)
    while 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.16:  # contrast of 5 : 1
        red, green, blue = 0.95 * red, 0.95 * green, 0.95 * blue
    return to_hex((red, green, blue))


def kind_of(recipe: str, loss: str) -> str:
    """The key of `RECIPE_FILLS`: fine-tuned networks and those with a teacher differ."""
    return "tuned with a teacher" if recipe == "tuned" and loss != "ce" else recipe


def marker(method: str, kind: str, size: float) -> dict[str, Any]:
    """Keywords of a line that draw a candidate's marker, `size` in points; the teacher's star is always full."""
    looks = look(method)
    fill = "full" if method == "teacher" else RECIPE_FILLS.get(kind, "full")
    return {
        "marker": looks.marker,
        "color": looks.colour,
        "markersize": size * looks.scale,
        "fillstyle": fill,
        "markerfacecolor": "white" if fill == "none" else looks.colour,
        "markerfacecoloralt": "white",
        "markeredgecolor": looks.colour,
        "markeredgewidth": 0.9,
        "linestyle": "none",
    }


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw with the figures' settings and no others, whatever the user's matplotlib configuration says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def page() -> Figure:
    """An empty A4 landscape page."""
    figure = Figure(figsize=A4_LANDSCAPE)
    FigureCanvasAgg(figure)
    return figure


def heading(figure: Figure, title: str, subtitle: str) -> None:
    """Title and subtitle at the top left of a page."""
    figure.text(0.05, 0.965, title, fontsize=13, fontweight="bold", va="top", ha="left")
    figure.text(0.05, 0.933, subtitle, fontsize=8, color=GREY, va="top", ha="left", linespacing=1.35)


def grid(axes: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Faint lines behind the data."""
    axes.grid(True, axis=axis, which="major", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)


def plain(value: float, digits: int = 3, zeros: bool = False) -> str:
    """A number without exponent, with this number of significant digits; `zeros` keeps those at the end."""
    text = f"{value:{'#' if zeros else ''}.{digits}g}".rstrip(".")
    if "e" in text:
        return f"{float(text):.0f}" if abs(value) >= 1 else f"{float(text):f}".rstrip("0")
    return text


def save_pages(path: str | os.PathLike, draw: Iterable[Callable[[], Figure]], title: str) -> list[Path]:
    """Write one PDF page per callable, whole or not at all; no dates inside, so that equal data give equal files.

    For a path that ends in `.png` each page is a separate picture: `name.png`, `name-2.png`, `name-3.png`.

    Returns:
        The files written.
    """
    path = Path(path)
    metadata: dict[str, Any] = {"Title": title, "Creator": "hakd"}
    if path.suffix == ".png":
        return [
            _save_picture(path.with_name(f"{path.stem}{f'-{i}' if i > 1 else ''}.png"), make, metadata)
            for i, make in enumerate(draw, 1)
        ]
    metadata |= {"CreationDate": None, "ModDate": None}
    with atomic(path) as temporary, styled(), PdfPages(temporary, metadata=metadata) as pages:
        for make in draw:
            pages.savefig(make())
    return [path]


def _save_picture(path: Path, make: Callable[[], Figure], metadata: dict[str, Any]) -> Path:
    with atomic(path) as temporary, styled():
        make().savefig(temporary, metadata={**metadata, "Software": None})
    return path
