# HAKD: from data to the Pareto front of every device. See README.md and config/README.md.
import gc
import sys
import time

from snakemake.logging import logger
from snakemake.utils import min_version

from hakd.records.errors import HakdError
from hakd.study.closing import failure_words, success_words
from hakd.study.files import merged_configuration, note_start
from hakd.study.kept import keep_configuration
from hakd.study.ownership import own_study
from hakd.study.progress import Progress
from hakd.study.schema import checked_study

STARTED = time.time()
# Nearly all that a plan is made of stays until the end: looking for what is not took an eighth of a large one's time.
gc.set_threshold(200_000, 20, 50)

min_version("9.25")

if workflow.is_main_process and not workflow.dryrun:
    own_study()
    logger.addHandler(Progress(STARTED))


configfile: os.path.join(workflow.basedir, "config", "config.yaml")


try:  # the workflow's own file is the last of its list and the lowest layer
    complete = checked_study(
        merged_configuration(config, [*workflow.configfiles[-1:], *workflow.configfiles[:-1]])
    )
except HakdError as error:
    sys.exit(f"error: {error}")
config.clear()
config.update(complete)
note_start(workflow.overwrite_workdir, workflow.configfiles)
if workflow.is_main_process and not workflow.dryrun:
    keep_configuration(config)


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/common_networks.smk"
include: "rules/common_pruning.smk"
include: "rules/common_race.smk"
include: "rules/common_candidates.smk"
include: "rules/common_compressions.smk"
include: "rules/common_boards.smk"
include: "rules/common_fleets.smk"
include: "rules/data.smk"
include: "rules/network.smk"
include: "rules/teacher.smk"
include: "rules/prune.smk"
include: "rules/widths.smk"
include: "rules/sweep.smk"
include: "rules/snap.smk"
include: "rules/race.smk"
include: "rules/fleet.smk"
include: "rules/students.smk"
include: "rules/deep_compression.smk"
include: "rules/export.smk"
include: "rules/candidates.smk"
include: "rules/benchmark.smk"
include: "rules/audit.smk"
include: "rules/score.smk"
include: "rules/summary.smk"
include: "rules/contrasts.smk"
include: "rules/checks.smk"
include: "rules/verification.smk"
include: "rules/certificates.smk"
include: "rules/hazards.smk"
include: "rules/pareto.smk"
include: "rules/pareto_page.smk"
include: "rules/stack.smk"
include: "rules/staircases.smk"
include: "rules/available.smk"


rule all:
    default_target: True
    input:
        "results/pareto.html",
        "results/pareto.pdf",
        "results/staircases.pdf",
        "results/widths.pdf",
        "results/seeds.pdf",
        "results/stack.pdf",
        "results/summary.csv",
        "results/checks.csv",
        CONTRASTS,
        expand("results/devices/{device}/{file}", device=DEVICES, file=[*DEVICE_FILES, *RACE_FILES]),
    message:
        "All plots and tables of the study"


onsuccess:
    sys.stderr.write(success_words(config, STARTED, sys.argv[1:]))


onerror:
    sys.stderr.write(failure_words(config, STARTED))
