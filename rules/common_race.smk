# What the rules of `race` need. No rules.
from hakd.study.races import RACE, lap_path, rung_path, runners

RACES = RACE in BY_TABLES
RUNGS = config["race"]["rungs"]
RACE_RESULTS = expand(
    "results/{network}/{search}race/{level}/{{device}}/{rung}.json",
    network=NETWORKS,
    search=SEARCHES,
    level=LEVELS,
    rung=RUNGS,
)
RACE_FILES = ["race.csv"] if RACES else []


wildcard_constraints:
    rung=r"[1-9]",


def race_folder(wildcards):
    """The folder of what a search has pruned."""
    return f"results/{wildcards.network}/{wildcards.search}"


def race_loss(wildcards):
    """The loss of short trainings, and the settings that it depends on."""
    name = settings(config, "race/loss")
    return {"name": name, "settings": settings_of_loss(name)}


def lap_before(wildcards):
    """The weights that a lap goes on from; none for the first."""
    rung = int(wildcards.rung) - 1
    return [lap_path(race_folder(wildcards), wildcards.level, wildcards.arch, rung)] if rung else []


def before_race(wildcards):
    """The scores of the rung before; none for the first."""
    rung = int(wildcards.rung) - 1
    return [rung_path(race_folder(wildcards), wildcards.level, wildcards.device, rung)] if rung else []


def race_laps(wildcards):
    """The short trainings of a rung; known once the widths are chosen, or the rung before is decided."""
    known = {key: value for key, value in wildcards.items() if key != "rung"}
    rung = int(wildcards.rung)
    chosen = checkpoints.race.get(rung=rung - 1, **known) if rung > 1 else checkpoints.snap.get(**known)
    folder, archs = race_folder(wildcards), runners(chosen.output[0], rung)
    return [lap_path(folder, wildcards.level, arch, rung) for arch in archs]


def race_result(wildcards):
    """The file of the last rung, where `race` is run."""
    path = rung_path(race_folder(wildcards), wildcards.level, wildcards.device, RUNGS)
    return [path] if RACES else []
