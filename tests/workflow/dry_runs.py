"""Many dry runs of Snakemake out of one process that has imported what each needs: a fork of it takes a third.

Reads [[ARGUMENTS, FILE], ...] as JSON; what Snakemake prints goes to the file, and its exit status to FILE.status.
"""

import json
import os
import sys
from pathlib import Path

from snakemake.cli import main

from hakd.records.code import CHECKOUT, script_digest
from hakd.study import schema  # noqa: F401, what the Snakefile imports first


def dry_run(arguments: list[str], file: str) -> None:
    """Snakemake's own entry, in this process, which ends with it."""
    output = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["snakemake", *arguments]
    status = 1
    try:
        main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        Path(f"{file}.status").write_text(f"{status}")
        os._exit(0)


def run_all(requests: list[tuple[list[str], str]]) -> None:
    """As many at a time as there are processors."""
    for path in sorted((CHECKOUT / "workflow" / "scripts").glob("*.py")):
        script_digest(str(path))  # modules are read once, here
    running = 0
    for arguments, file in requests:
        if running == os.cpu_count():
            os.wait()
            running -= 1
        if os.fork() == 0:
            dry_run(arguments, file)
        running += 1
    for _ in range(running):
        os.wait()


if __name__ == "__main__":
    run_all(json.load(sys.stdin))
