"""Networks of a configuration that are imported: from a module, an ONNX file, or with weights from a file.

Read by the rules at planning time, which never import a module: what depends on its description is checked by the job
that imports it.
"""

import ast
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hakd.networks.families import INPUT_SIZE, network_spec
from hakd.networks.imported import OWN, find_file
from hakd.records.arch import NetworkSpec
from hakd.records.errors import HakdError

DOORS = ("module", "onnx")
_BESIDE = ("input_size", "weights", "frozen")  # keys that go with a door


def is_described(settings: Mapping[str, Any]) -> bool:
    """Whether a network's settings say what it is, with no module or file to look at."""
    return not any(door in settings for door in DOORS)


def is_pretrained(config: Mapping[str, Any], network: str) -> bool:
    """Whether a network brings weights, so that one teacher serves all seeds."""
    return "weights" in config["networks"][network]


def is_imported(config: Mapping[str, Any], network: str) -> bool:
    """Whether a job makes the network's description or its weights."""
    return is_pretrained(config, network) or not is_described(config["networks"][network])


def imported_path(network: str) -> str:
    """The file of that job: description and weights."""
    return f"results/{network}/network.safetensors"


def teacher_seed(config: Mapping[str, Any], network: str, seed: int) -> int:
    """The seed of the teacher that a seed's jobs use: its own, or the first where one teacher serves all."""
    return min(config["run"]["seeds"]) if is_pretrained(config, network) else seed


def known_spec(
    name: str, settings: Mapping[str, Any], channels: int, classes: int, where: str
) -> NetworkSpec | None:
    """The specification of a network whose settings say what it is; None for one that has to be imported first.

    Raises:
        HakdError: settings that do not go together.
    """
    key = f"networks.{name}"
    given = [door for door in DOORS if door in settings]
    if not given:
        if settings.get("weights") == OWN:
            remedy = "Set it to a file of weights, or leave it out"
            raise HakdError("a family has no weights", where=where, key=f"{key}.weights", remedy=remedy)
        return network_spec(name, settings, channels, classes, where)
    other = [one for one in settings if one not in (given[0], *_BESIDE)]
    if other:
        words = f"does not go with `{given[0]}`"
        raise HakdError(words, where=where, key=f"{key}.{other[0]}", remedy="Leave one of the two out")
    return None


def with_input_sizes(networks: Mapping[str, Any]) -> dict[str, Any]:
    """The registry with the default `input_size` where a family is not given one."""
    return {
        name: {"input_size": INPUT_SIZE, **settings}
        if isinstance(settings, Mapping) and is_described(settings)
        else settings
        for name, settings in networks.items()
    }


def folders_of(configuration_files: Iterable[str | os.PathLike]) -> list[str]:
    """Where a study's modules and files are looked for: the working directory, then beside its configuration."""
    return list(
        dict.fromkeys((os.getcwd(), *(os.path.dirname(os.path.abspath(one)) for one in configuration_files)))
    )


def check_doors(networks: Mapping[str, Any], folders: Iterable[str | os.PathLike]) -> None:
    """Refuse files that are not there, before anything runs.

    Raises:
        HakdError: a file that is given and not there.
    """
    places = [*folders]
    for name, settings in networks.items():
        try:
            files_of(settings, places)
        except HakdError as error:
            raise HakdError(
                error.problem, where=error.where, key=f"networks.{name}.{error.key}", remedy=error.remedy
            ) from None


def files_of(settings: Mapping[str, Any], folders: Iterable[str | os.PathLike]) -> list[str]:
    """Files that a network is imported from, as far as they are the user's: a change of them imports it again.

    A module, and what it imports, is looked for in the folders and on PYTHONPATH; what is installed is not followed.

    Raises:
        HakdError: a file that is given and not there.
    """
    places = [Path(folder) for folder in folders]
    found = []
    for key in ("onnx", "weights"):
        if key in settings and settings[key] != OWN:
            path = find_file(settings[key], places)
            if not path.is_file():
                remedy = "Give its path from the working directory, or from the folder of the configuration"
                raise HakdError(f"no such file: {path}", where="config", key=key, remedy=remedy)
            beside = Path(f"{path}.data")  # where exporters put weights that are large
            found += [os.path.relpath(one) for one in (path, beside) if one.is_file()]
    if "module" in settings:
        on_path = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        found += _sources(settings["module"].partition(":")[0], [*places, *map(Path, on_path)])
    return found


def _sources(module: str, places: Iterable[Path]) -> list[str]:
    """The files of a module and of all modules beside it that it imports, directly or not."""
    folders, pending, seen = [*places], [module], set()
    found: dict[str, None] = {}
    while pending:
        name = pending.pop()
        if name in seen or name.partition(".")[0] == "hakd":  # a study may run in a checkout
            continue
        seen.add(name)
        stems = [folder.joinpath(*name.split(".")) for folder in folders]
        files = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
        file = next((file for file in files if file.is_file()), None)
        if file is not None:
            found[os.path.relpath(file)] = None
            pending += [name.rpartition(".")[0] or name, *_imported(file, name)]
    return [*found]


def _imported(file: Path, module: str) -> list[str]:
    """Names that a module may import, as dotted names; none of a file that is not Python, which its import refuses."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".") + (["__init__"] if file.name == "__init__.py" else [])
            above = parts[: -node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [name for name in names if name and not name.startswith(".")]
