"""All certificates of the networks chosen on a device, in one table."""

import pandas as pd

from hakd.records.errors import HakdError, make_again
from hakd.records.files import read_json
from hakd.records.tables import write_table
from hakd.study.scripting import reporting


def main(snap_paths, path_to_table):
    """Write a row per certificate."""
    rows = []
    for path in snap_paths:
        snap = read_json(path, "snap")
        for key, entry in snap["methods"].items():
            if not {"certificates", "method", "budget"} <= entry.keys():
                raise HakdError(f"no certificates of {key}", where=path, remedy=make_again(path))
            about = {"network": entry["network"]["name"], "level": snap["level"]}
            about |= {name: entry[name] for name in ("method", "budget")}
            about["search_seed"] = snap["search_seed"]
            rows += [{**about, **record} for record in entry["certificates"]]
    write_table(path_to_table, "certificates", pd.DataFrame(rows))


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.input.snaps, snakemake.output[0])
