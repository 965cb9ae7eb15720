"""Test the declared contrasts, and say how probably each candidate is on the Pareto front."""

from hakd.analysis.contrasts import contrasts
from hakd.analysis.fronts import fronts
from hakd.analysis.scores import read_scores
from hakd.plots.contrasts import contrasts_figure
from hakd.records.files import atomic
from hakd.records.tables import read_table
from hakd.study.scripting import reporting


def main(path_to_summary, predictions_paths, declared, path_to_table, path_to_fronts, path_to_plot):
    """Write both tables and the plot."""
    frame, _ = read_table(path_to_summary, "summary")
    scores = read_scores(read_table(path, "predictions")[0] for path in predictions_paths)
    found = contrasts(frame, scores, declared)
    for path, table in ((path_to_table, found), (path_to_fronts, fronts(frame, scores))):
        with atomic(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    contrasts_figure(found, path_to_plot)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.input.summary,
            snakemake.input.predictions,
            snakemake.params.contrasts,
            snakemake.output.table,
            snakemake.output.fronts,
            snakemake.output.plot,
        )
