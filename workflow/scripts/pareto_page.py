"""Write the interactive page of accuracy against latency and size."""

from hakd.plots.pareto_page import pareto_page
from hakd.records.files import read_json
from hakd.records.tables import read_table
from hakd.study.scripting import reporting


def main(path_to_summary, candidates_paths, path_to_page):
    """Write the page; the widths are those of the candidates' own lists."""
    entries = [entry for path in candidates_paths for entry in read_json(path, "candidates")["candidates"]]
    widths = {entry["arch"]: entry["widths"] for entry in entries}
    pareto_page(read_table(path_to_summary, "summary")[0], widths, path_to_page)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.input.summary, snakemake.input.candidates, snakemake.output[0])
