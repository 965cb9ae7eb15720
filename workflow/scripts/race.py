"""Score a rung of a race on the validation split; the better half goes on, after the last rung the best."""

from hakd.choosing.race import Lap, rung_record, winner
from hakd.records.checkpoint import read_checkpoint
from hakd.records.files import read_json, write_json
from hakd.study.races import RACE
from hakd.study.scripting import reporting


def main(rung, rungs, path_before, path_to_snap, lap_paths, path_to_race):
    """Write contestants, their scores so far, and who is left."""
    snap = read_json(path_to_snap, "snap")
    about = {key: snap[key] for key in ("level", "search_seed", "device")}
    race = snap[RACE] if path_before is None else read_json(path_before, RACE)[RACE]
    laps = {}
    for path in lap_paths:
        found = read_checkpoint(path)
        facts = found.facts
        laps[found.architecture.arch] = Lap(facts["val_accuracy"], facts["train_images"], facts["train_s"])
    race = rung_record(race, laps, rung, rungs)
    methods = {RACE: winner(race)} if rung == rungs else {}
    content = {**about, "rung": rung, RACE: race, "survivors": race["survivors"], "methods": methods}
    write_json(path_to_race, RACE, content)


if __name__ == "__main__":
    with reporting(snakemake.log):
        main(
            int(snakemake.wildcards.rung),
            snakemake.params.rungs,
            next(iter(snakemake.input.before), None),
            snakemake.input.snap,
            snakemake.input.laps,
            snakemake.output[0],
        )
