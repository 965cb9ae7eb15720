"""From a trained network to a compressed candidate on disk: the file, and beside it the facts of its making."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hakd.deep_compression.store import Compressed, read, write
from hakd.networks.families import build_graph
from hakd.networks.module import network_with
from hakd.networks.stored import read_network
from hakd.records.files import write_json
from hakd.training.device import PreparedData
from hakd.training.recipe import Recipe
from hakd.training.students import probe_logits


@dataclass(frozen=True)
class CompressionJob:
    """What to compress, and where to write what comes of it.

    Args:
        trained: checkpoint of the network.
        file, facts: to write.
        level: what the candidate's file is named by: the fraction of the weights that is left.
        seed: fixes the order of the images.
        recipe: of all fine-tuning.
        student_suffix: of a student's recipe, e.g. `coded`; None: a teacher is compressed.
    """

    trained: str | os.PathLike
    file: str | os.PathLike
    facts: str | os.PathLike
    level: float
    seed: int
    recipe: Recipe
    student_suffix: str | None = None


def compress_candidate(
    job: CompressionJob, prepared: PreparedData, method: Callable[..., Compressed]
) -> None:
    """Compress, write the file, read it back, and write the facts.

    The file's header holds what is needed to build the network again; the rest is beside it, for every byte counts. The
    training of a student counts with its compression, that of a teacher is shared.

    Args:
        method: `compress`, `prune_weights` or `ternarise`, with its settings given.
    """
    trained = read_network(job.trained)
    graph = build_graph(trained.architecture)
    data = prepared.load(trained.architecture.spec.input_size)
    resume_directory = f"{os.fspath(job.file)}.resume"
    compressed = method(
        network_with(graph, trained.weights).to(data.train.device),
        data,
        recipe=job.recipe,
        seed=job.seed,
        label=os.fspath(job.file),
        resume_directory=resume_directory,
    )
    metrics = compressed.metrics
    images, macs = metrics["train_images"], metrics["train_images"] * 3 * graph.macs()
    facts: dict[str, Any] = {"recipe": "compressed", "loss": "ce"}
    if job.student_suffix:
        own = trained.facts
        facts = {**own, "recipe": f"{own['recipe']}_{job.student_suffix}"}
        images, macs = images + own["train_images"], macs + own["train_macs"]
    facts |= {
        **metrics,
        "seed": job.seed,
        "data": data.train.name,
        "train_images": images,
        "train_macs": macs,
    }
    facts |= {"images": data.train.about()}
    facts |= {"density": job.level, "density_reached": metrics["density"]}
    facts |= {"probe_logits": probe_logits(graph, compressed.state())}
    write(job.file, compressed, trained.architecture.to_dict())
    read(job.file)  # what cannot be read back is not a result
    write_json(job.facts, "compressed", {"facts": facts})
    shutil.rmtree(resume_directory, ignore_errors=True)
