"""`snakemake --executor recorded`: instead of running a job, put files there that such a job of another study has made.

Everything else is Snakemake's own: the plan, the order of jobs, what is kept of each of them. The other study, which
has one network and one device, is the folder HAKD_RECORDED. Choices are given widths of their own for each network and
device, so that there are as many students as if no two devices chose alike.
"""

import functools
import json
import os
import re
import shutil
import zlib
from pathlib import Path

from snakemake.exceptions import print_exception
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings

from hakd.records.arch import Architecture, architecture_from, write_architecture
from hakd.records.errors import HakdError

RECORDED = "HAKD_RECORDED"  # in the environment
WILDCARD = re.compile(r"\{(\w+)(?:,(?:[^{}]|\{[^{}]*\})*)?\}")  # with its constraint, which may hold braces
CHOOSING = ("snap", "widths", "baseline_widths")
WIDE = 1_000_000  # widths above this name a network and a device, and are not those of a real network
common_settings = CommonSettings(
    non_local_exec=False,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)


class Executor(RealExecutor):
    """Copies files."""

    def run_job(self, job: JobExecutorInterface) -> None:
        """Make a job's outputs, and report it finished."""
        submitted = SubmittedJobInfo(job=job)
        self.report_job_submission(submitted)
        try:
            for path, pattern in zip(job.output, job.rule.output, strict=True):
                make(Path(path), str(pattern), job.rule.name, dict(job.wildcards.items()))
        except (OSError, HakdError) as error:
            print_exception(error, self.workflow.linemaps)
            self.report_job_error(submitted)
        else:
            self.report_job_success(submitted)

    def cancel(self) -> None:
        """Nothing runs."""

    def shutdown(self) -> None:
        """Nothing runs."""

    def get_exec_mode(self) -> None:
        """No other Snakemake is started."""
        raise NotImplementedError

    def get_python_executable(self) -> None:
        """No Python is started."""
        raise NotImplementedError

    @property
    def cores(self) -> int:
        """As given."""
        return self.workflow.resource_settings.cores


def make(path: Path, pattern: str, rule: str, wildcards: dict[str, str]) -> None:
    """Write one output of a job.

    Args:
        pattern: of the output in its rule.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    source = recorded(WILDCARD.sub(r"{\1}", pattern))
    if rule not in CHOOSING:
        shutil.copyfile(source, path)
        return
    content = json.loads(source.read_text())
    place = f"{wildcards['network']} {wildcards.get('device', '')} {wildcards['level']}"
    for choice, entry in content["methods"].items():
        found = apart(architecture_from(entry, source), wildcards["network"], place)
        write_architecture(f"results/architectures/{found.arch}.json", found)
        content["methods"][choice] = entry | found.to_dict()
    path.write_text(json.dumps(content, indent=1) + "\n")


@functools.cache
def recorded(pattern: str) -> Path:
    """A file of the other study whose name fits an output's pattern.

    Raises:
        HakdError: there is none.
    """
    folder = Path(os.environ[RECORDED])
    wide = pattern.replace("{candidate}", "**/{candidate}").replace("{search}", "")
    found = sorted(folder.glob(re.sub(r"\{\w+\}", "*", wide)))
    if not found:
        raise HakdError(f"no file like {pattern}", where=folder, remedy="Run the whole study there")
    return found[0]


def apart(architecture: Architecture, network: str, place: str) -> Architecture:
    """The same architecture under the name of another network, and with a width that only this place has."""
    spec = architecture.spec.__class__(**{**architecture.spec.to_dict(), "name": network})
    first = min(architecture.widths)
    mark = WIDE + zlib.crc32(place.encode())
    return Architecture(spec, {**architecture.widths, first: mark + architecture.widths[first]})
