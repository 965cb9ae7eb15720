"""Plot what threads, memory and bytes cost beside the accuracy they buy; tables of speed-ups and hypervolumes."""

from hakd.analysis.hypervolume import hypervolumes
from hakd.analysis.scores import read_scores
from hakd.analysis.stack import speedups
from hakd.plots.stack import stack_figure
from hakd.records.files import atomic
from hakd.records.tables import read_table
from hakd.study.scripting import reporting


def main(
    path_to_summary, predictions_paths, boards, accuracy, path_to_speedups, path_to_hypervolumes, path_to_plot
):
    """Write both tables and the plot."""
    frame, _ = read_table(path_to_summary, "summary")
    scores = read_scores(read_table(path, "predictions")[0] for path in predictions_paths)
    found = speedups(frame, boards)
    for path, table in ((path_to_speedups, found), (path_to_hypervolumes, hypervolumes(frame, scores))):
        with atomic(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    stack_figure(frame, found, accuracy, path_to_plot)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            snakemake.input.summary,
            snakemake.input.predictions,
            snakemake.params.boards,
            snakemake.params.accuracy,
            snakemake.output.speedups,
            snakemake.output.hypervolumes,
            snakemake.output.plot,
        )
