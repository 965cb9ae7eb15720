"""Short trainings by which `race` chooses: which there are, and where their files lie.

Read by the rules at planning time: no heavy imports.
"""

import os

from hakd.records.files import read_json

RACE = "race"


def lap_path(folder: str, level: str, arch: str, rung: int) -> str:
    """Checkpoint of a contestant after a rung.

    Args:
        folder: of the prunings of a network and a search.
    """
    return f"{folder}race/{level}/{arch}-{rung}.safetensors"


def rung_path(folder: str, level: str, device: str, rung: int) -> str:
    """Scores and survivors of a rung."""
    return f"{folder}race/{level}/{device}/{rung}.json"


def runners(path: str | os.PathLike, rung: int) -> list[str]:
    """The architectures that a rung trains, from the file of the choices (first rung) or of the rung before.

    One alone has won and is not trained.
    """
    if rung == 1:
        archs = [entry["arch"] for entry in read_json(path, "snap")[RACE]["contestants"]]
    else:
        archs = list(read_json(path, RACE)["survivors"])
    return archs if len(archs) > 1 else []
