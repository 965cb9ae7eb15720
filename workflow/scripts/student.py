"""Train a student of given widths from scratch, alone or with a teacher."""

from dataclasses import replace

from hakd.networks.families import build_graph
from hakd.networks.module import network_with
from hakd.networks.stored import read_network
from hakd.records.files import file_digest
from hakd.study.scripting import reporting
from hakd.training.device import PreparedData
from hakd.training.distil import DistilSettings, distillation_loss
from hakd.training.recipe import Recipe
from hakd.training.students import TrainingJob, train_candidate


def main(widths, distil, path_to_teacher, prepared, job):
    """Train and write checkpoint and metrics per epoch; the loss is made here, of its name and the teacher."""
    teacher = read_network(path_to_teacher)
    data = prepared.load(teacher.architecture.spec.input_size)
    if job.loss_name != "ce":
        graph = build_graph(teacher.architecture)
        module = network_with(graph, teacher.weights).to(data.train.device)
        job = replace(
            job,
            loss=distillation_loss(job.loss_name, module, DistilSettings(**distil)),
            context=[distil, file_digest(path_to_teacher)],
            teacher_macs=graph.macs(),
        )
    train_candidate(teacher.architecture.at(widths), data, job)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.params.widths,
            {key: snakemake.params[key] for key in ("alpha", "temperature", "attention_scale")},
            snakemake.input.teacher,
            PreparedData(snakemake.input.train, snakemake.input.validation, snakemake.params.device),
            TrainingJob(
                path=snakemake.output.checkpoint,
                metrics_path=snakemake.output.metrics,
                epochs=snakemake.params.epochs,
                recipe=Recipe.from_config(snakemake.params.recipe),
                seed=int(snakemake.wildcards.seed),
                lr_key="students.recipe.lr",
                recipe_name=snakemake.wildcards.recipe,
                loss_name=snakemake.wildcards.loss,
            ),
        )
