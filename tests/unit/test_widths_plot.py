"""The picture of widths: what is on its pages."""

import pandas as pd
import pypdfium2

from hakd.choosing.device_free import scaled
from hakd.networks.families import full_widths
from hakd.plots.widths import widths_figure
from tests.unit.builders import SPECS
from tests.unit.table_rows import SUMMARY_ROW


def test_each_choice_is_a_line_with_its_widths(tmp_path):
    spec = SPECS["mobilenet"]()
    networks = {one.arch: one for one in (scaled(spec, 0.5), scaled(spec, 0.25))}
    half, quarter = networks
    rows = [
        {"method": "fisher", "level": 0.5, "arch": half, "seed": 0},
        {"method": "fisher", "level": 0.5, "arch": half, "seed": 1},  # another training of the same widths
        {"method": "joint", "level": 0.5, "arch": quarter, "budget": "round16", "target_device": "pi"},
        {"method": "joint", "level": 0.5, "arch": half, "budget": "speedup2", "target_device": "pi"},
        {
            "method": "hakd",
            "level": 0.5,
            "arch": quarter,
            "target_device": "elsewhere",
        },  # not for this device
    ]
    about = {"network": "net", "device": "pi", "target_device": None, "budget": None, "search_seed": 0}
    frame = pd.DataFrame([SUMMARY_ROW | about | row | {"candidate": str(i)} for i, row in enumerate(rows)])
    widths_figure(frame, networks, {"net": full_widths(spec)}, tmp_path / "widths.pdf")
    document = pypdfium2.PdfDocument(tmp_path / "widths.pdf")
    assert len(document) == 1
    text = document[0].get_textpage().get_text_bounded()
    names = [line for line in text.split() if line.startswith(("fisher", "joint", "hakd", "teacher"))]
    assert sorted(names) == ["fisher", "joint@round16", "joint@speedup2"]
    widths_figure(frame[:0], {}, {}, tmp_path / "none.pdf")
    assert len(pypdfium2.PdfDocument(tmp_path / "none.pdf")) == 1
    for widths in (networks[quarter].widths, full_widths(spec)):
        assert all(str(width) in text.split() for width in widths.values())
