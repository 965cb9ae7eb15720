"""Prune the teacher of the search seed to a level, from the state of the nearest higher one."""

from dataclasses import replace
from pathlib import Path

from hakd.networks.prunable import as_far_as_can_be, check_reach
from hakd.networks.stored import read_network
from hakd.pruning.prune import PruneJob, PruneSettings, prune
from hakd.pruning.trajectory import write_trajectory
from hakd.records.checkpoint import write_checkpoint
from hakd.study.levels import TEACHER, note_source
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData


def main(job, asked, prepared, path_to_teacher, path_to_checkpoint, path_to_trajectory):
    """Write the pruned network, the trajectory down to it, and the state that lower levels start from.

    A level that the study does not list, which tables need, is approached as far as possible.
    """
    teacher = read_network(path_to_teacher)
    limits = teacher.architecture.spec, job.settings.groups, job.settings.count
    if asked:
        check_reach(limits[0], job.level, *limits[1:])
    else:
        job = replace(job, level=as_far_as_can_be(limits[0], job.level, *limits[1:]))
    data = prepared.load(teacher.architecture.spec.input_size)
    pruned = prune(teacher.architecture, teacher.weights, data, job)
    write_checkpoint(path_to_checkpoint, pruned.architecture, pruned.weights, pruned.facts)
    write_trajectory(path_to_trajectory, pruned.rows)
    checkpoint = Path(path_to_checkpoint)
    note_source(checkpoint.parent, checkpoint.stem, Path(job.above_path).stem if job.above_path else TEACHER)
    Path(job.resume_path).unlink(missing_ok=True)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            PruneJob(
                level=float(snakemake.wildcards.level),
                settings=PruneSettings(**snakemake.params.settings),
                seed=snakemake.params.seed,
                criterion=snakemake.wildcards.criterion,
                label=snakemake.output.checkpoint,
                above_path=next(iter(snakemake.input.above), None),
                state_path=snakemake.output.state,
                resume_path=f"{snakemake.output.state}.resume",
            ),
            snakemake.params.asked,
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            snakemake.input.teacher,
            snakemake.output.checkpoint,
            snakemake.output.trajectory,
        )
