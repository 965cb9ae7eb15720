"""Short trainings by which `race` chooses: which there are, and where their files lie.

Read by the rules at planning time: no heavy imports.
"""

import os
from collections.abc import Mapping
from typing import Any

from hakd.records.files import read_json

RACE = "race"  # the method's name, and the key of its races by label of their budget


def lap_path(folder: str, level: str, arch: str, rung: int) -> str:
    """Checkpoint of a contestant after a rung.

    Args:
        folder: of the prunings of a network and a search.
    """
    return f"{folder}race/{level}/{arch}-{rung}.safetensors"


def rung_path(folder: str, level: str, device: str, rung: int) -> str:
    """Scores and survivors of a rung."""
    return f"{folder}race/{level}/{device}/{rung}.json"


def running(race: Mapping[str, Any]) -> list[str]:
    """The architectures that the next rung of a race trains: one alone has won and is not trained."""
    archs = list(race["survivors"])
    return archs if len(archs) > 1 else []


def runners(path: str | os.PathLike, rung: int) -> list[str]:
    """The architectures that a rung trains for the races of all budgets, each once.

    Args:
        path: the file of the choices (first rung) or of the rung before.
    """
    races = read_json(path, "snap" if rung == 1 else RACE)[RACE]
    return list(dict.fromkeys(arch for race in races.values() for arch in running(race)))
