"""The interactive page: what it holds, and what it does in a real browser."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.markers import MarkerStyle

from hakd.analysis.summary import aggregate, pareto_front
from hakd.plots import style
from hakd.plots.pareto_page import LIBRARIES, VENDOR, pareto_page, svg_path
from hakd.records.tables import check_table
from tests.boards.skipping import system_part
from tests.unit.browser import chromium
from tests.unit.table_rows import SUMMARY_ROW

CROSS = "digits </script><script>document.title = 'broken'</script><!--"  # a name that would end the script
SERIES = (
    ("teacher", "scratch", "ce", 1.0, 0.40, 0.985),
    ("fisher", "tuned", "ce", 0.5, 0.30, 0.970),
    ("fisher", "tuned", "logits", 0.5, 0.302, 0.974),
    ("fisher", "tuned", "ce", 0.25, 0.20, 0.950),
    ("round16", "distilled", "logits", 0.5, 0.22, 0.976),
    ("joint", "distilled", "logits", 0.5, 0.21, 0.980),
    ("deep_compression", "compressed", "ce", 0.1, 0.40, 0.975),
    ("deep_compression", "compressed", "ce", 0.01, 0.40, 0.610),  # far below all others
)
ROWS = "document.querySelectorAll('tr.candidate').length"
DRAWN = "document.querySelectorAll('#plots svg.marks').length === 1 && view !== null"


def summary() -> pd.DataFrame:
    """Two networks on two devices, eight candidates each, three seeds."""
    rng, rows = np.random.default_rng(0), []
    for device, slower in (("pi", 3.0), ("local", 1.0)):
        for network in ("mobilenet", "densenet"):
            for method, recipe, loss, level, latency, accuracy in SERIES:
                for seed in range(3):
                    at = slower * latency * (1 + 0.002 * seed)
                    name = f"{network}/{level}/{method}/{recipe}/{loss}/{seed}"
                    rows.append(
                        SUMMARY_ROW
                        | {"candidate": name, "network": network, "data": CROSS, "device": device, "seed": seed}
                        | {"method": method, "recipe": recipe, "loss": loss, "level": level, "search_seed": None}
                        | {"target_device": None, "budget": None, "arch": f"{len(name):04x}"}
                        | {"accuracy": round(accuracy + 0.001 * (seed - 1), 4), "size_bytes": int(1e6 * level)}
                        | {"latency_ms": at, "latency_low_ms": 0.99 * at, "latency_high_ms": 1.01 * at}
                        | {"memory_bytes": None if device == "pi" else int(rng.integers(1e6, 4e6))}
                        | {"macs": int(4e6 * level), "checkpoint_path": f"results/{name}.safetensors"}
                    )  # fmt: skip
    return check_table("summary", pd.DataFrame(rows))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Path and content of a page."""
    path = tmp_path_factory.mktemp("page") / "pareto.html"
    frame = summary()
    content = pareto_page(frame, {arch: {"stem": 8, "block1": 96} for arch in frame["arch"].unique()}, path)
    return path, content


@pytest.fixture(scope="module")
def browser():
    with system_part(), chromium() as page:
        yield page


@pytest.fixture
def page(browser, written):
    """The page, just opened; at the end it has asked for nothing and its console is empty."""
    browser.said.clear()
    browser.asked.clear()
    browser.open(written[0], f"typeof vegaEmbed === 'function' && {DRAWN} && {ROWS} > 0")
    yield browser
    assert browser.asked == [written[0].as_uri()]
    assert browser.said == []


def embedded(path) -> dict:
    """The content, as another program would read it from the page."""
    (text,) = re.findall(
        r'<script type="application/json" id="content">(.*?)</script>', path.read_text(), re.DOTALL
    )
    return json.loads(text)


def place(page, title: str, panel: str = "latency_ms") -> tuple[float, float]:
    """Where a candidate's marker is in the window."""
    box = page.ask(f"""(() => {{
        const marks = [...document.querySelectorAll("#plots .mark-symbol path[aria-label^='{title}']")];
        const boxes = marks.map((mark) => mark.getBoundingClientRect()).sort((a, b) => a.x - b.x);
        const box = boxes[{0 if panel == "latency_ms" else "boxes.length - 1"}];
        return [box.x + box.width / 2, box.y + box.height / 2];
    }})()""")
    return box[0], box[1]


def test_the_page_holds_every_candidate_of_the_summary(written):
    path, content = written
    frame, found = summary(), embedded(path)
    assert found == json.loads(json.dumps(content))
    trainings = [(one["candidate"], row["device"]) for row in found["candidates"] for one in row["trainings"]]
    assert sorted(trainings) == sorted(zip(frame["candidate"], frame["device"], strict=True))
    averages = aggregate(frame).set_index(["network", "device", "method", "level", "loss"])
    assert len(found["candidates"]) == len(averages) == 32
    for row in found["candidates"]:
        mean = averages.loc[(row["network"], row["device"], row["method"], row["level"], row["loss"])]
        for name in ("accuracy", "bar_low", "latency_ms", "latency_high_ms", "size_bytes"):
            assert row[name] == pytest.approx(mean[name.replace("bar", "accuracy")], rel=1e-6)
        assert row["data"] == CROSS and (row["memory_bytes"] is None) == (row["device"] == "pi")
        assert {found["widths"][one["arch"]]["block1"] for one in row["trainings"]} == {96}
    assert path.stat().st_size < 1_500_000  # more is not shown inside a report (docs/results.md)


def test_libraries_are_those_that_are_named(written):
    table = (VENDOR / "VERSIONS.md").read_text()
    for name in LIBRARIES:
        digest = hashlib.sha256((VENDOR / f"{name}.min.js").read_bytes()).hexdigest()
        assert re.search(rf"\| `{name}` \| [\d.]+ \| `build/{name}\.min\.js` \| `{digest}` \|", table)
        assert (VENDOR / f"{name}.LICENSE").read_text() in written[0].read_text()


def test_markers_are_those_of_the_plots():
    for method, look in style.METHOD_LOOKS.items():
        for fill in ("full", "left", "top"):
            path = svg_path(MarkerStyle(look.marker, fill))
            numbers = np.array(re.findall(r"([\d.e-]+),([\d.e-]+)", path), dtype=float)
            assert path.startswith("M") and 0.7 <= np.abs(numbers).max() < 1.5, (method, fill)
    assert svg_path(MarkerStyle("s", "left")).startswith("M-1,-1L-1,1L0,1L0,-1")


def test_nothing_is_asked_for_and_names_are_only_text(page):
    assert page.ask("document.title") == "HAKD: accuracy against latency"
    assert CROSS in page.ask("document.getElementById('subtitle').textContent")
    table = (VENDOR / "VERSIONS.md").read_text()
    versions = page.ask("[vega.version, vegaLite.version, vegaEmbed.version]")
    assert versions == [re.search(rf"`{name}` \| ([\d.]+)", table)[1] for name in LIBRARIES]


def test_fronts_are_those_of_the_program(page, written):
    frame = pd.DataFrame(written[1]["candidates"])
    own = frame[(frame["network"] == "densenet") & (frame["device"] == "local")]
    assert page.ask(ROWS) == len(own)  # the first network and device
    for cost, column in (("latency_ms", "latency_ms"), ("cost", "size_bytes")):
        expected = own[pareto_front(own, column, "accuracy")].sort_values(column)["number"]
        assert page.ask(f"front(rows, '{cost}').map((row) => row.number)") == list(expected)


def test_a_candidate_pointed_at_says_everything(page, written):
    (row,) = [
        one
        for one in written[1]["candidates"]
        if (one["network"], one["device"], one["method"]) == ("densenet", "local", "joint")
    ]
    page.mouse("mouseMoved", *place(page, f"{row['number']} joint"))
    page.wait("document.querySelector('#vg-tooltip-element.visible') !== null")
    text = page.ask("document.getElementById('vg-tooltip-element').innerText")
    for words in (
        *("joint 0.5", "densenet on", "distilled", "logits", "local: onnxruntime 1.31.0, 1 thread", "0, 1, 2"),
        *("98.0 % (95 %: 97.8 to 98.2)", "0.210 ms (95 %: 0.208 to 0.213)", "500.0 kB", "MiB", "2.000 million"),
        *("3.000 thousand", "stem 8, block1 96", "results/densenet/0.5/joint/distilled/logits/0.safetensors"),
    ):  # fmt: skip
        assert words in text, text
    assert page.ask("document.querySelector('tr.picked').dataset.id") == str(
        page.ask(f"rows.find((row) => row.number === {row['number']}).id")
    )


def test_filters_change_the_panels_and_the_table(page):
    def marks():
        return page.ask("document.querySelectorAll('#plots .mark-symbol path[aria-label]').length")

    def count(rows: int, each: int = 2) -> None:
        page.wait(f"{ROWS} === {rows}")
        assert marks() == each * rows

    count(8)
    page.ask("document.querySelector('#method [data-key=deep_compression]').click()")
    count(6)
    page.ask("document.querySelector('#recipe [data-key=scratch]').click()")
    count(5)
    page.ask(
        "document.querySelector('#recipe [data-key=tuned]').dispatchEvent(new MouseEvent('click', {shiftKey: true}))"
    )
    count(2)  # of fisher, without a teacher
    page.ask("document.getElementById('reset').click()")
    count(8)
    for name, rows in (("network", 16), ("device", 32)):
        page.ask(f"{name} = document.getElementById('{name}'); {name}.value = ''; {name}.onchange()")
        count(rows)
    page.ask(
        "cost = document.getElementById('cost'); cost.value = 'memory_bytes'; cost.onchange()"
    )  # unknown on pi
    page.wait("document.querySelectorAll('#plots .mark-symbol path[aria-label]').length === 32 + 16")


def listed(page, field: str) -> list:
    """A field of the candidates in the table, from top to bottom."""
    lines = "[...document.querySelectorAll('tr.candidate')]"
    return page.ask(f"{lines}.map((line) => rows.find((row) => row.id == line.dataset.id).{field})")


def test_a_brush_over_one_panel_selects_in_the_other_and_in_the_table(page):
    faint = "[...document.querySelectorAll(\"#plots .mark-symbol path[aria-label][opacity='0.15']\")].length"
    for panel in ("latency_ms", "cost"):
        page.ask("draw()")
        page.wait(f"{DRAWN} && {ROWS} === 8")
        x, y = place(page, page.ask("rows.find((row) => row.method === 'joint').title"), panel)
        page.drag((x - 12, y - 12), (x + 12, y + 12))
        page.wait(f"{ROWS} < 8")
        methods = listed(page, "method")
        assert "joint" in methods and "teacher" not in methods
        assert page.ask(faint) == 2 * (8 - len(methods))  # in both panels


def test_the_table_sorts_and_opens_a_candidates_files(page):
    page.ask("[...document.querySelectorAll('th')].find((head) => head.textContent === 'latency').click()")
    assert listed(page, "latency_ms") == sorted(listed(page, "latency_ms"))
    page.ask("document.querySelector('tr.candidate').click()")
    text = page.ask("document.querySelector('tr.more').innerText")
    assert len(re.findall(r"results/densenet/0.25/fisher/tuned/ce/\d\.safetensors", text)) >= 3
    assert f"hakd explain {SUMMARY_ROW['onnx_path']} --device local" in text
