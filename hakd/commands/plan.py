"""`hakd plan`: what a study will cost, in advance."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hakd.commands.common import FINE, Commands, command, positive
from hakd.records.errors import HakdError


def add(commands: Commands) -> None:
    """The options."""
    found = command(
        commands,
        "plan",
        "show what a study will cost: points and minutes per device, hours of training",
        "Show what the configured study will cost before it starts: points and minutes on each device, and the\n"
        "hours of training on this machine. No board is contacted. Minutes come from a device's sessions in the\n"
        "store, else from an assumed rate; training from a two-second probe of each network on one thread.\n\n"
        "examples:\n"
        "  hakd plan\n"
        "  hakd plan --config config/cluttered.yaml --no-training\n"
        "  hakd plan --gmacs 0.5 --json",
    )
    found.add_argument("--store", metavar="DIR", help="measurement store (default: the configuration's)")
    found.add_argument(
        "--gmacs", type=positive, metavar="X", help="GMAC/s a thread to assume for devices not in the store"
    )
    found.add_argument("--no-training", action="store_true", help="leave the training out (no probe)")
    found.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    found.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from hakd.planning.devices import (
        GMACS,
        device_plans,
        levels_text,
        lines_of,
        network_lines,
        network_rows,
        not_counted,
    )
    from hakd.study.files import read_configuration
    from hakd.study.networks import import_networks
    from hakd.study.schema import checked_study

    config = read_configuration(arguments.config)
    study = checked_study(config)
    import_networks(config, study)
    store = Path(arguments.store or config.store())
    plans = list(device_plans(study, store, arguments.gmacs or GMACS))
    training = None if arguments.no_training else _training(study)
    if arguments.json:
        rows = [plan.to_dict() for plan in plans]
        about = {"networks": network_rows(study), "devices": rows, "training": training}
        print(json.dumps(about, indent=1))
        return FINE
    print(levels_text(study))
    print("\n".join(network_lines(network_rows(study))))
    for plan in plans:
        print("\n".join(lines_of(plan)))
    print("Least: first points, one look; most: all points and looks. What the store has is not timed again.")
    print(not_counted(study))
    if training is not None:
        for line in _words(training):
            print(line)
    return FINE


def _training(study: Mapping[str, Any]) -> dict[str, Any]:
    """Hours of training by network and kind of job; a reason instead where the data are unknown."""
    from hakd.planning.training import probe, train_images, training_jobs

    try:
        epoch = train_images(study)
    except HakdError as error:
        return {"unknown": str(error)}
    networks = {}
    for network in study["run"]["networks"]:
        rate = probe(study, network)
        jobs = {
            job.what: {"jobs": job.jobs, "hours": job.jobs * job.images / rate / 3600}
            for job in training_jobs(study, network, epoch)
        }
        networks[network] = {"images_per_s": rate, "jobs": jobs}
    return {"epoch_images": epoch, "networks": networks}


def _words(training: Mapping[str, Any]) -> list[str]:
    if "unknown" in training:
        return [f"training: not counted: {training['unknown']}"]
    total = sum(job["hours"] for one in training["networks"].values() for job in one["jobs"].values())
    lines = [
        f"training: {total:.2f} h on one thread ({training['epoch_images']} images an epoch); jobs run in parallel"
    ]
    for network, one in training["networks"].items():
        jobs = ", ".join(f"{job['jobs']} {what} {job['hours']:.2f} h" for what, job in one["jobs"].items())
        lines.append(f"  {network} ({one['images_per_s']:.0f} images/s at full width): {jobs}")
    return lines
