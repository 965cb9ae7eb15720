"""The joint plot of the devices that have results: who is in it, who is named, what is left out and why."""

import os
import re

import pandas as pd
import pypdfium2
import pytest

from hakd.analysis.summary import summarise
from hakd.plots.available import write_available
from hakd.records.errors import HakdError
from hakd.records.tables import read_table, write_table
from hakd.study.branches import states, summary_path
from tests.unit.table_rows import described, predicted, timed

CONFIG = {
    "run": {"devices": ["pi", "local", "nano"], "networks": ["mobilenet"], "levels": [0.5], "seeds": [0]},
    "devices": {"pi": {}, "local": {}, "nano": {}},
}
OUT = ("out/pareto.pdf", "out/summary.csv", "out/devices.txt")


def brought(
    device: str, right: int = 8, at: float = 100.0, engine: str = "onnxruntime 1.31.0", threads: int = 1
) -> None:
    """A device's summary: a network for all devices, one for this; `right` of ten images are recognised."""
    shared, own = described("any", method="fisher"), described(device, target_device=device)
    predictions = pd.concat([predicted("any", right), predicted(device, 9)])
    info = {"device": device, "engine": engine, "threads": threads}
    frame = summarise([shared, own], timed("any", device), predictions, info)
    write_table(summary_path(device), "summary", frame, {"device": info})
    os.utime(summary_path(device), (at, at))


def texts() -> list[str]:
    """The words of each page of the plot."""
    document = pypdfium2.PdfDocument(OUT[0])
    found = [re.sub(r"\s+", " ", page.get_textpage().get_text_range()) for page in document]
    document.close()
    return found


def lines() -> list[str]:
    """The list of devices."""
    with open(OUT[2]) as stream:
        return stream.read().splitlines()


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """All paths are relative to the study's folder."""
    monkeypatch.chdir(tmp_path)


def test_devices_with_results_are_joined_and_the_others_named():
    brought("pi", threads=4)
    brought("local")
    os.makedirs("results/logs/sweep")
    with open("results/logs/sweep/mobilenet-nano.log", "w") as stream:
        stream.write(
            "2026-11-20 16:29:42,097 error: device nano: host: no answer (No route to host). Check that it is on\n"
        )
    write_available(states(CONFIG), *OUT)
    frame, _ = read_table(OUT[1], "summary")
    assert sorted(zip(frame["device"], frame["candidate"], strict=True)) == [
        ("local", "any"), ("local", "local"), ("pi", "any"), ("pi", "pi")
    ]  # fmt: skip
    assert dict(zip(frame["device"], frame["threads"], strict=True)) == {"pi": 4, "local": 1}
    assert lines() == [
        "pi: 2 candidates, onnxruntime 1.31.0, 4 threads",
        "local: 2 candidates, onnxruntime 1.31.0, 1 thread",
        "no results from nano: device nano: host: no answer (No route to host). Check that it is on",
    ]
    pages = texts()
    assert len(pages) == 2 and all("no results from: nano" in page for page in pages)
    assert "timed on local" in pages[0] and "timed on pi" in pages[1]


def test_all_there_names_nobody():
    for name in CONFIG["run"]["devices"]:
        brought(name)
    write_available(states(CONFIG), *OUT)
    assert len(lines()) == 3 and not any("no results" in text for text in [*lines(), *texts()])


def test_no_results_at_all_is_one_clear_error():
    with pytest.raises(
        HakdError, match=r"available: no device has results yet: pi \(its jobs have not finished\); .*nano"
    ):
        write_available(states(CONFIG), *OUT)
    assert not os.path.exists("out")


def test_old_results_that_contradict_newer_ones_are_left_out():
    brought("pi", right=7, at=100)
    brought("local", right=8, at=200)
    write_available(states(CONFIG), *OUT)
    assert set(read_table(OUT[1], "summary")[0]["device"]) == {"local"}
    assert (
        "no results from pi: its results are of an older state of the study (candidate any differs"
        in lines()[0]
    )
    assert "no results from: pi, nano" in texts()[0]
    brought("pi", right=7, at=300)
    write_available(states(CONFIG), *OUT)
    assert set(read_table(OUT[1], "summary")[0]["device"]) == {"pi"}


def test_a_damaged_summary_stops_nobody_else():
    brought("pi")
    brought("local")
    with open(summary_path("local"), "r+b") as stream:
        stream.truncate(100)
    write_available(states(CONFIG), *OUT)
    assert re.match(
        r"no results from local: .*summary\.parquet: not a Parquet file .*`-R results/devices/local/summary\.parquet`",
        lines()[1],
    )


def test_results_of_a_device_that_failed_since_are_shown_with_a_warning():
    brought("pi", at=100)
    os.makedirs("results/logs/benchmark")
    with open("results/logs/benchmark/pi.log", "w") as stream:
        stream.write("2026-11-20 16:29:42,097 error: device pi: the link was lost\n")
    write_available(states(CONFIG), *OUT)
    assert lines()[0].endswith("1 thread; its last run failed: device pi: the link was lost")
