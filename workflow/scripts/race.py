"""Score a rung of the races on the validation split; the better half continues, after the last rung the best."""

from hakd.choosing.race import Lap, rung_record, winner
from hakd.records.checkpoint import read_checkpoint
from hakd.records.files import read_json, write_json
from hakd.study.races import RACE, running
from hakd.study.scripting import reporting


def main(rung, rungs, path_before, path_to_snap, lap_paths, path_to_race):
    """Write contestants, their scores so far, and who is left, for each budget."""
    snap = read_json(path_to_snap, "snap")
    about = {key: snap[key] for key in ("level", "search_seed", "device")}
    before = snap[RACE] if path_before is None else read_json(path_before, RACE)[RACE]
    laps = dict(map(_lap, lap_paths))
    races = {
        label: rung_record(race, {arch: laps[arch] for arch in running(race)}, rung, rungs)
        for label, race in before.items()
    }
    methods = {race["choice"]: winner(race) for race in races.values()} if rung == rungs else {}
    write_json(path_to_race, RACE, {**about, "rung": rung, RACE: races, "methods": methods})


def _lap(path):
    found = read_checkpoint(path)
    facts = found.facts
    lap = Lap(facts["val_accuracy"], facts["train_images"], facts["train_s"], facts.get("diverged", False))
    return found.architecture.arch, lap


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
