"""Import a network: from a module, an ONNX file, or a family with weights from a file."""

import logging

from hakd.data.stored import read
from hakd.networks.doors import import_network
from hakd.networks.families import full_architecture, width_groups
from hakd.networks.imported import Images
from hakd.networks.prunable import check_reach
from hakd.records.checkpoint import write_checkpoint
from hakd.records.text import counted
from hakd.study.scripting import reporting

log = logging.getLogger("hakd.network")


def main(name, settings, folders, lowest, path_to_train, path):
    """Write description and weights; say what was read, and refuse a level that cannot be reached."""
    stored = read(path_to_train)
    _, channels, *size = stored.images.shape
    found = import_network(name, settings, Images(channels, tuple(size), len(stored.classes)), folders)
    check_reach(found.spec, lowest["level"], lowest["groups"], lowest["count"])
    groups = width_groups(found.spec)
    fixed = [group for group in groups if group.reason is not None]
    log.info("%s: %s, %d of them fixed", name, counted(len(groups), "width group"), len(fixed))
    for group in fixed:
        log.info("  %s (%d) is fixed: %s", group.name, group.width, group.reason)
    for remark in found.remarks:
        log.warning("%s: %s", name, remark)
    facts = {"pretrained": "weights" in settings, "replaced": found.replaced, "remarks": list(found.remarks)}
    write_checkpoint(path, full_architecture(found.spec), found.weights, facts)


if __name__ == "__main__":
    with reporting(snakemake.log, snakemake.threads):
        main(
            snakemake.wildcards.network,
            snakemake.params.network,
            snakemake.params.folders,
            snakemake.params.level,
            snakemake.input.train,
            snakemake.output[0],
        )
