"""All races on a device: contestants, their scores at each rung, their cost."""

import pandas as pd

from hakd.choosing.race import race_rows
from hakd.records.files import atomic, read_json
from hakd.study.races import RACE
from hakd.study.scripting import reporting


def main(race_paths, path_to_table):
    """Write a row per contestant and budget."""
    rows = []
    for path in race_paths:
        content = read_json(path, RACE)
        about = {key: content[key] for key in ("level", "search_seed", "device")}
        for race in content[RACE].values():
            network = {"network": race["contestants"][0]["network"]["name"]}
            rows += [network | about | row for row in race_rows(race)]
    with atomic(path_to_table) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(list(snakemake.input), snakemake.output[0])
