"""The picture of every training's accuracy: what is on its pages."""

import pandas as pd
import pypdfium2

from hakd.plots.seeds import seeds_figure
from tests.unit.table_rows import SUMMARY_ROW


def lines(path) -> list[str]:
    return [
        line.strip()
        for page in pypdfium2.PdfDocument(path)
        for line in page.get_textpage().get_text_bounded().splitlines()
    ]


def test_each_candidate_is_a_line_best_mean_first(tmp_path):
    trained = {"fisher": [0.90, 0.92, 0.91], "joint": [0.95, 0.93, 0.97], "teacher": [0.99]}
    rows = [
        SUMMARY_ROW
        | {"network": "net", "method": method, "recipe": "tuned", "loss": "ce", "level": 0.5, "budget": None}
        | {"target_device": None, "accuracy": accuracy, "seed": seed, "candidate": f"{method}-{seed}", "device": device}
        for method, accuracies in trained.items()
        for seed, accuracy in enumerate(accuracies)
        for device in ("pi", "local")
    ]  # fmt: skip
    path, again = tmp_path / "seeds.pdf", tmp_path / "again.pdf"
    seeds_figure(pd.DataFrame(rows), path)
    seeds_figure(pd.DataFrame(rows), again)
    assert path.read_bytes() == again.read_bytes()
    named = [line for line in lines(path) if line.endswith("tuned ce")]
    assert named == ["teacher 0.5, tuned ce", "joint 0.5, tuned ce", "fisher 0.5, tuned ce"]


def test_many_candidates_take_more_pages_and_name_their_device(tmp_path):
    rows = [
        SUMMARY_ROW | {"network": "net", "method": "hakd", "level": level / 100, "target_device": device}
        | {"accuracy": 0.9, "candidate": f"{level}-{device}", "budget": None}
        for level in range(30, 60)
        for device in ("pi", "jetson")
    ]  # fmt: skip
    seeds_figure(pd.DataFrame(rows), tmp_path / "seeds.pdf")
    assert len(pypdfium2.PdfDocument(tmp_path / "seeds.pdf")) == 2
    assert sum(line.endswith(", jetson") for line in lines(tmp_path / "seeds.pdf")) == 30
