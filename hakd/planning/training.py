"""How long a study's training will take: images that its jobs see, over a rate that a two-second probe measures.

A pruning job goes from one level to the next lower one; all criteria take the same steps. The probe trains each network
at full width. A pruned network is assumed to be faster in proportion to its multiply-accumulates, and distillation to
cost one more forward pass of the teacher (a third of a step).
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from hakd.choosing.device_free import scaled
from hakd.choosing.race import steps_at
from hakd.networks.families import build_graph, full_architecture, full_widths
from hakd.study.budgets import budgets_of
from hakd.study.candidates import (
    COMPRESSIONS,
    FULL_WIDTHS,
    by_tables,
    criteria,
    densities_of,
    expected_students,
    uncompressed_path,
)
from hakd.study.configuration import limits, reach_level
from hakd.study.doors import is_pretrained
from hakd.study.fleets import selected
from hakd.study.networks import spec_of
from hakd.study.races import RACE
from hakd.study.recipes import TERNARY, TRAINED_AS
from hakd.study.searches import searches

PROBE_S = 2.0
TRAIN = Path("results/data/train.npz")
KNOWN = {"digits": 1295, "cifar10": 45000, "fashion-mnist": 54000}  # training images, if not prepared yet


@dataclass(frozen=True)
class Job:
    """Jobs of one kind: how many, and the cost of one in images at full width."""

    what: str
    jobs: int
    images: float


def train_images(study: Mapping[str, Any]) -> int:
    """Images in an epoch: from `train_size`, the prepared data, the image folder, or the known size of the data set.

    Raises:
        HakdError: prepared data that cannot be read, or an image folder that is missing or malformed.
    """
    from hakd.data.imagefolder import count_train_images
    from hakd.data.settings import complete
    from hakd.data.stored import read

    data = complete(study["data"])
    drawn = data["name"] == "cluttered-digits"
    if "train_size" in data and not drawn:
        return int(data["train_size"])
    stored = read(TRAIN) if TRAIN.is_file() else None
    if stored is not None and stored.name == data["name"]:
        return stored.drawn_images or len(stored.labels)
    if drawn:
        return int(data["epoch_images"])
    return KNOWN[data["name"]] if data["name"] in KNOWN else count_train_images(data)


def training_jobs(study: Mapping[str, Any], network: str, epoch: int) -> list[Job]:
    """Jobs of one network; methods that make the same choice share students, so there may be fewer."""
    run, seeds = study["run"], len(study["run"]["seeds"])
    searched = {search.seed for search in searches(study)}
    teachers = 1 if is_pretrained(study, network) else len(searched | set(run["seeds"]))
    made = [Job("teacher", teachers, study["teacher"]["epochs"] * epoch)]
    if any(method not in FULL_WIDTHS for method in run["methods"]):
        made.append(_pruning(study, network, len(searched)))
    found: dict[tuple[str, str], float] = {}
    coded: dict[tuple[str, str], float] = {}
    for device, fleets in [(run["devices"][0], selected(study)), *((one, ()) for one in run["devices"][1:])]:
        for one in expected_students(study, network, device, fleets):
            taught = 1 / 3 if one.loss != "ce" else 0.0  # the teacher's pass, which is at full width
            path, target = one.checkpoint_path, one.target_device or ""
            if one.recipe in TRAINED_AS:
                method = "ternary" if one.recipe in TERNARY else "deep_compression"
                density = study["deep_compression"]["student_density"]
                coded[path, target] = _compression_epochs(study, method, density) * epoch * one.level
                path = uncompressed_path(study, path)
            images = study["students"]["epochs"] * epoch
            if one.recipe == "scratch_b":
                images += _pruning_images(study, network, one.level)
            found[path, target] = images * (one.level + taught)
    if found:
        made.append(Job("students", len(found), sum(found.values()) / len(found)))
    if coded:
        made.append(Job("compression of students", len(coded), sum(coded.values()) / len(coded)))
    if RACE in run["methods"]:
        made.append(_race(study, len(searched)))
    for method in (one for one in COMPRESSIONS if one in run["methods"]):
        densities = densities_of(study, method)
        epochs = fmean(_compression_epochs(study, method, density) for density in densities)
        made.append(Job(method.replace("_", " "), seeds * len(densities), epochs * epoch))
    return made


def _compression_epochs(study: Mapping[str, Any], method: str, density: float) -> int:
    """Passes over the training split of one compression."""
    if method == "ternary":
        return int(study["ternary"]["quantisation"]["epochs"])
    settings = study["deep_compression"]["compression"]
    pruning: int = settings["rounds"] * settings["epochs"] if density < 1 else 0
    return pruning + (0 if method == "weight_pruning" else settings["sharing_epochs"])


def _pruning(study: Mapping[str, Any], network: str, searches: int) -> Job:
    """Each criterion down to the lowest level, and Fisher's further to the level that tables need."""
    levels = study["run"]["levels"]
    lowest, on_tables = min(levels), by_tables(study) or selected(study)
    deepest = float(reach_level(study, network)) if on_tables else lowest

    def images(level: float) -> float:
        return _pruning_images(study, network, level) * (1 + level) / 2  # networks on the way are narrower

    jobs = (len(levels) * len(criteria(study)) + (deepest < lowest)) * searches
    total = (len(criteria(study)) - 1) * images(lowest) + images(deepest)
    return Job("pruning", jobs, searches * total / jobs)


def _race(study: Mapping[str, Any], searches: int) -> Job:
    """The short trainings of `race` on all devices within all budgets; their number if none is shared."""
    settings, levels = study["race"], study["run"]["levels"]
    left, laps, images = settings["contestants"], 0, 0.0
    for rung in range(1, settings["rungs"] + 1):
        if left == 1:
            break
        laps += left
        images += left * steps_at(rung, settings["steps"]) * study["students"]["recipe"]["batch_size"]
        left = math.ceil(left / 2)
    times = len(study["run"]["devices"]) * len(budgets_of(study)) * searches
    taught = 1 / 3 if settings["loss"] != "ce" else 0.0
    return Job("race", laps * len(levels) * times, images / laps * (fmean(levels) + taught))


def _pruning_images(study: Mapping[str, Any], network: str, level: float) -> float:
    """Images that a pruning down to a level sees."""
    spec, settings = spec_of(study, network), study["prune"]
    full, last = full_widths(spec), scaled(spec, level, **limits(study)).widths
    removals = sum(full[group] - last[group] for group in full) / settings["channels"]
    return removals * settings["steps"] * settings["batch_size"]


def probe(study: Mapping[str, Any], network: str, seconds: float = PROBE_S) -> float:
    """Images a second that a training step takes at full width, on the study's training device and one thread."""
    import torch

    from hakd.networks.module import network_with
    from hakd.networks.onnx_model import stand_in_weights
    from hakd.training.device import training_device
    from hakd.training.optimiser import SGD

    spec = spec_of(study, network)
    device, batch = training_device(study["training"]["device"]), study["students"]["recipe"]["batch_size"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        graph = build_graph(full_architecture(spec))
        module = network_with(graph, stand_in_weights(graph)).to(device).train()
        optimiser = SGD(module.parameters(), lr=1e-6, momentum=0.9)
        images = torch.randn(batch, spec.input_channels, *spec.image, device=device)
        labels = torch.zeros(batch, dtype=torch.int64, device=device)
        start, done = None, 0
        while start is None or time.monotonic() - start < seconds:
            optimiser.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(module(images), labels).backward()
            optimiser.step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if start is None:
                start = time.monotonic()  # the first step is warm-up
            else:
                done += batch
        return done / (time.monotonic() - start)
    finally:
        torch.set_num_threads(threads)
