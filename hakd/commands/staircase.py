"""`hakd staircase`: the curves of a latency table as a picture."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hakd.commands.common import FINE, Commands, command, fraction, table_argument

if TYPE_CHECKING:
    import pandas as pd


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "staircase",
        "draw the curves of a latency table, with their steps marked",
        "Draw the curves of a latency table: a panel per width group, with the widths of its neighbours, the 95 %\n"
        "intervals, and a mark at every change above the curve's tolerance. Nothing is measured.\n\n"
        "examples:\n"
        "  hakd staircase pi4.parquet\n"
        "  hakd staircase pi4.parquet --group block6 block13 --out steps.png\n"
        "  hakd staircase results/mobilenet/latency/pi4.parquet --level 0.3 --out pi4.pdf",
        device=False,
    )
    table_argument(found)
    found.add_argument(
        "--out", metavar="FILE", help=".pdf or .png (one per page); default: next to the table, as .pdf"
    )
    found.add_argument("--group", nargs="+", default=[], metavar="GROUP", help="these width groups only")
    found.add_argument("--level", type=fraction, metavar="X", help="this level only")
    found.set_defaults(run=_run)


def _inverted(frame: "pd.DataFrame") -> list[str]:
    """A line for each curve with widths that are slower than a wider one."""
    from hakd.latency_tables.files import all_curves
    from hakd.staircase.inversions import in_words, inversions

    lines = []
    for curve in all_curves(frame):
        words = in_words(inversions(curve))
        lines += [f"  level {curve.level:g} {curve.group}: {words}"] if words else []
    return lines


def _run(arguments: argparse.Namespace) -> int:
    from hakd.latency_tables.files import headline, read_latency, select
    from hakd.plots.staircases import staircase_figure
    from hakd.records.errors import HakdError
    from hakd.records.files import check_place

    table = Path(arguments.table)
    out = arguments.out or str(table.with_suffix(".pdf"))
    check_place(out, (".pdf", ".png"), "a picture")
    frame, about = read_latency(table)
    frame = select(frame, table, arguments.group, arguments.level)
    if not (frame["kind"] == "block").any():
        remedy = "Give groups that are width groups, or a table of `hakd sweep --mode map`"
        raise HakdError("no curves, only tiles", where=table, key="kind", remedy=remedy)
    name = str(about.get("device") or table.stem)
    titles = staircase_figure({name: frame}, [], out, {name: headline(about)}, steps=True)
    for title in titles:
        print(title)
    for line in _inverted(frame):
        print(line)
    print(
        f"Written: {out}{' and one more for each page' if len(titles) > 1 and out.endswith('.png') else ''}"
    )
    return FINE
