"""`hakd import-table`: a colleague's latency table, checked, as a file that a virtual device answers from."""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hakd.boards import PROTOCOL, open_board
from hakd.latency_tables.files import read_latency
from hakd.latency_tables.parts import parts_of, spec_from
from hakd.records.errors import HakdError
from hakd.records.files import check_place
from hakd.records.tables import write_table
from hakd.records.text import counted, printable
from hakd.study.devices import Entry

# Two boards are of the same model if all of the hardware but the serial number is equal (hakd/boards/agent.py).
MODEL = ("machine", "cpu_model", "isa_flags", "cpus")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # becomes part of a path, and is not trusted
FUNCTION = re.compile(r"[A-Za-z_][\w.]{0,99}:[A-Za-z_]\w{0,62}", re.ASCII)  # of the author's own network
ASK = "Get the table as `hakd sweep` (.parquet) or `hakd export-table --format json` wrote it"


@dataclass(frozen=True)
class ExpectedOrigin:
    """The origin that the table must have: exactly one of the first three.

    Args:
        fingerprint: of the board, engine version and threads.
        entry: a device, which is connected to.
        unchecked: the origin is not checked.
        same_model: with `entry`: another board of the same model is accepted.
    """

    fingerprint: str | None = None
    entry: Entry | None = None
    unchecked: bool = False
    same_model: bool = False


def import_table(
    path: str, expected: ExpectedOrigin, out: str | None, say: Callable[[str], None] = print
) -> Path:
    """Check a table and write it as Parquet; print how to use it.

    Raises:
        HakdError: not a table of hakd, another protocol, a shape that does not fit its network, another board, engine
            or engine version than expected (both are named), or an output file that exists already.
    """
    try:
        frame, about = read_latency(path)
    except HakdError as error:
        remedy = error.remedy if Path(path).suffix.lower() == ".csv" else None
        raise HakdError(error.problem, where=error.where, key=error.key, remedy=remedy or ASK) from None
    checked = _check_origin(about, expected, path)
    shapes = _check_shapes(frame, about, path)
    name = str(about.get("device") or Path(path).stem)
    network = str(frame["network"].iloc[0])
    own = FUNCTION.fullmatch(network) is not None
    if not NAME.fullmatch(name) or not (own or NAME.fullmatch(network)):
        problem = f"{_shown(name)} or {_shown(network)} is not a name of a device or network"
        raise HakdError(problem, where=path, key="device", remedy=ASK)
    place = Path(out or f"tables/{name}-{network.replace(':', '-')}.parquet")
    check_place(str(place), (".parquet",), "an imported table")
    if place.exists():
        raise HakdError("exists already", where=place, key="--out", remedy="Give another path, or delete it")
    kept = {key: value for key, value in about.items() if key not in ("kind", "format", "provenance")}
    origin = {"file": Path(path).name, "checked": checked, "provenance": about.get("provenance")}
    write_table(place, "latency", frame, {**kept, "imported": origin})
    curves = frame[frame["kind"] == "block"].groupby(["level", "group"], dropna=False)["trusted"].all()
    trusted = f"{int(curves.sum())} of {counted(len(curves), 'curve')} known to within their tolerance"
    say(f"{network} on {name}{_engine(about)}: {counted(len(frame), 'row')}, {trusted}")
    say(f"checked: format and columns, {shapes}, {checked}")
    say(f"Written: {place}. A device that answers from it:")
    say(f"  {name}-table: {{transport: virtual, table: {place}}}")
    return place


def _engine(about: Mapping[str, Any]) -> str:
    return printable(f" ({about['engine']} {about['engine_version']})") if "engine_version" in about else ""


def _check_shapes(frame: pd.DataFrame, about: Mapping[str, Any], path: str) -> str:
    """Build every part again, where the table describes its network."""
    spec = spec_from(about, path)
    if spec is None:
        return "no shapes (the table does not describe its network)"
    for _ in parts_of(frame, spec, path):
        pass
    return f"{frame['shape'].nunique()} shapes"


def _check_origin(about: Mapping[str, Any], expected: ExpectedOrigin, path: str) -> str:
    """Compare the table's origin with the expected one; returns in words what was compared."""
    if not about:
        if expected.unchecked:
            return "not its origin (CSV holds rows only)"
        problem = "a CSV table holds rows only: it does not say on which device it was measured"
        raise HakdError(problem, where=path, remedy=f"{ASK}, or give --unchecked")
    for key in ("fingerprint", "engine", "engine_version", "protocol"):
        if key not in about:
            raise HakdError("does not say on which device it was measured", where=path, key=key, remedy=ASK)
    if about["protocol"] != PROTOCOL:
        problem = f"measured by timing protocol {about['protocol']}, this program has {PROTOCOL}"
        raise HakdError(problem, where=path, key="protocol", remedy="Get a table of the same version of hakd")
    if expected.fingerprint is not None:
        if expected.fingerprint != about["fingerprint"]:
            raise _differs("fingerprint", about["fingerprint"], expected.fingerprint, "expected", path)
        return f"fingerprint {expected.fingerprint}"
    if expected.entry is None:
        return f"not its origin (the table has fingerprint {_shown(about['fingerprint'])})"
    return _check_device(about, expected, path)


def _check_device(about: Mapping[str, Any], expected: ExpectedOrigin, path: str) -> str:
    """Open the device and compare it with the table; nothing is timed and nothing is stored."""
    assert expected.entry is not None
    device = expected.entry.device
    with tempfile.TemporaryDirectory() as folder, open_board(device, Path(folder)) as board:
        now = {**board.context, "fingerprint": board.fingerprint}
    then = {**(about.get("context") or {}), **{key: about[key] for key in ("engine", "engine_version")}}
    then["batch"], now["batch"] = about.get("batch", device.batch), device.batch
    name = f"on {device.name}"
    for key in ("engine", "engine_version", "threads", "batch", *MODEL):
        if key in then and then[key] != now.get(key):
            raise _differs(key, then[key], now.get(key), name, path)
    if now["fingerprint"] == about["fingerprint"]:
        return f"fingerprint {now['fingerprint']} of {device.name}"
    if expected.same_model:
        return f"model, engine, version, threads of {device.name} (another board: fingerprint {now['fingerprint']})"
    error = _differs("fingerprint", about["fingerprint"], now["fingerprint"], name, path)
    remedy = "It is another board of the same model: give --same-model to accept it"
    raise HakdError(error.problem, where=path, key="fingerprint", remedy=remedy)


def _differs(key: str, then: object, now: object, place: str, path: str) -> HakdError:
    remedy = "Sweep the device yourself, or get a table of the same board, engine and version"
    if key == "isa_flags" and isinstance(then, list) and isinstance(now, list):
        then, now = (sorted(set(one) - set(other)) for one, other in ((then, now), (now, then)))
    problem = f"{_shown(then)} in the table, {_shown(now)} {place}"
    return HakdError(problem, where=path, key=key, remedy=remedy)


def _shown(value: object) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value), 80)
