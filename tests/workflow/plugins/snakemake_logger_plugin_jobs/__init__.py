"""`snakemake --logger jobs`: what happens to each job, as lines of JSON among what Snakemake prints.

The rules' messages are for people: they do not name the rule, its wildcards or its resources.
"""

import json
import os
from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

MARK = "JOB "


class LogHandler(LogHandlerBase):
    """Writes a line for each job that is announced, finished or failed."""

    writes_to_stream = False  # True would silence Snakemake's own output
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def emit(self, record: LogRecord) -> None:
        """Write the line, in one piece and on a line of its own."""
        event, about = getattr(record, "event", None), {"at": record.created}
        if event == LogEvent.JOB_INFO:
            about |= {"job": record.jobid, "rule": record.rule_name, "wildcards": dict(record.wildcards)}
            shown = {name: str(value) for name, value in record.resources.items() if name[0] != "_"}
            about |= {"resources": shown}
            if self.common_settings.dryrun:  # long lines could be torn by what jobs write
                about |= {"inputs": list(record.input), "threads": record.threads}
        elif event == LogEvent.JOB_FINISHED:
            about |= {"job": record.job_id, "end": True}
        elif event == LogEvent.JOB_ERROR:
            about |= {"job": record.jobid, "end": False}
        if "job" in about:
            os.write(2, f"\n{MARK}{json.dumps(about)}\n".encode())
