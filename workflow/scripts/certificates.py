"""All certificates of the networks chosen on a device, in one table."""

import pandas as pd

from hakd.records.errors import HakdError, make_again
from hakd.records.files import read_json
from hakd.records.tables import write_table
from hakd.study.races import RACE
from hakd.study.scripting import reporting


def main(snap_paths, race_paths, path_to_table):
    """Write a row per certificate."""
    rows = []
    chosen = [(path, read_json(path, "snap")) for path in snap_paths]
    chosen += [(path, read_json(path, RACE)) for path in race_paths]
    for path, content in chosen:
        for key, entry in content["methods"].items():
            if not {"certificates", "method", "budget"} <= entry.keys():
                raise HakdError(f"no certificates of {key}", where=path, remedy=make_again(path))
            about = {"network": entry["network"]["name"], "level": content["level"]}
            about |= {name: entry[name] for name in ("method", "budget")}
            about["search_seed"] = content["search_seed"]
            rows += [{**about, **record} for record in entry["certificates"]]
    write_table(path_to_table, "certificates", pd.DataFrame(rows))


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(snakemake.input.snaps, snakemake.input.races, snakemake.output[0])
