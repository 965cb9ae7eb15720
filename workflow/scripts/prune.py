"""Fisher-prune the teacher of the search seed down to the lowest level."""

import os

from hakd.data.split import load_splits
from hakd.pruning.prune import PruneSettings, prune
from hakd.pruning.trajectory import write_trajectory
from hakd.records.checkpoint import read_checkpoint, write_checkpoint
from hakd.study.scripting import reporting
from hakd.training.device import training_device


def main(
    levels,
    settings,
    seed,
    path_to_teacher,
    device,
    path_to_train,
    path_to_validation,
    path_to_trajectory,
    level_paths,
):
    """Write the trajectory, and the architecture with its weights at each level."""
    teacher = read_checkpoint(path_to_teacher)
    data = load_splits(
        path_to_train, path_to_validation, teacher.architecture.spec.input_size, training_device(device)
    )
    resume_path = f"{path_to_trajectory}.resume"
    rows, found = prune(
        teacher.architecture,
        teacher.weights,
        data,
        levels,
        PruneSettings(**settings),
        seed,
        label=path_to_trajectory,
        resume_path=resume_path,
    )
    for level, path in zip(levels, level_paths, strict=True):
        state = found[level]
        write_checkpoint(
            path,
            state.architecture,
            state.weights,
            {"level": level, "prune_images": state.images, "prune_macs": state.macs_spent},
        )
    write_trajectory(path_to_trajectory, rows)
    if os.path.exists(resume_path):
        os.unlink(resume_path)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.params.levels,
            snakemake.params.settings,
            snakemake.params.seed,
            snakemake.input.teacher,
            snakemake.params.device,
            snakemake.input.train,
            snakemake.input.validation,
            snakemake.output.trajectory,
            snakemake.output.levels,
        )
