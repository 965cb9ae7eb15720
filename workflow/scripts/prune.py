"""Fisher-prune the teacher of the search seed down to the lowest level."""

from pathlib import Path

from hakd.pruning.prune import PruneSettings, prune
from hakd.pruning.trajectory import write_trajectory
from hakd.records.checkpoint import read_checkpoint, write_checkpoint
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData


def main(level_paths, settings, seed, prepared, path_to_teacher, path_to_trajectory):
    """Write the trajectory, and the architecture with its weights at each level (a path for each)."""
    teacher = read_checkpoint(path_to_teacher)
    resume_path = Path(f"{path_to_trajectory}.resume")
    rows, states = prune(
        teacher.architecture,
        teacher.weights,
        prepared.load(teacher.architecture.spec.input_size),
        list(level_paths),
        PruneSettings(**settings),
        seed,
        label=path_to_trajectory,
        resume_path=resume_path,
    )
    for level, path in level_paths.items():
        state = states[level]
        facts = {"level": level, "prune_images": state.images, "prune_macs": state.macs_spent}
        write_checkpoint(path, state.architecture, state.weights, facts)
    write_trajectory(path_to_trajectory, rows)
    resume_path.unlink(missing_ok=True)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            dict(zip(snakemake.params.levels, snakemake.output.levels, strict=True)),
            snakemake.params.settings,
            snakemake.params.seed,
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            snakemake.input.teacher,
            snakemake.output.trajectory,
        )
