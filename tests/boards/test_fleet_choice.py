"""One network for several devices: on virtual ones, whose truth is a formula, and on two devices that are one board."""

import contextlib
import fcntl
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import fleet_choice
from hakd.boards import Device, Protocol
from hakd.choosing.tile_costs import TileTable
from hakd.choosing.within_budgets import Verified
from hakd.networks.families import full_architecture
from hakd.records.arch import Architecture
from hakd.records.errors import HakdError
from hakd.search import fleet_boards
from hakd.search.budget import Budget
from hakd.search.fleet_boards import Boards, Member
from hakd.search.fleet_record import FleetProblem, described
from hakd.search.tile_tables import Tables
from hakd.sweeping.parts import engine_graph, point
from hakd.sweeping.timing import Measuring
from tests.unit.builders import SPECS


def test_the_benchmark_tells_what_is_kept_and_what_sharing_costs():
    budgets = {"full / 1.5": fleet_choice.BUDGETS["full / 1.5"]}
    rows = fleet_choice.one_case("densenet", 0, [("comb", "slope")], budgets)
    assert {row["device"] for row in rows} == {"comb", "slope"} and len({row["lost"] for row in rows}) == 1
    assert max(row["latency / budget"] for row in rows) > 0.9
    for row in rows:
        assert row["verified"] and row["tries"] <= 4
        assert row["latency / budget"] <= 1.002 and row["own latency / budget"] <= 1.002
        assert row["own lost by its tables"] <= row["lost"] + 1e-9
        assert row["own lost"] <= row["lost"] + 0.01
    assert len(fleet_choice.shown(fleet_choice.pd.DataFrame(rows))) == 2


def member(name: str, lock: Path, **settings) -> Member:
    """A device of this machine, with nothing timed yet."""
    device = Device(name, lock_path=str(lock), lock_wait_s=0.0, **settings)
    return Member(device, Measuring(), {}, Budget("1 ms", latency_ms=1.0), {})


def test_members_that_are_one_board_take_turns_with_its_lock(tmp_path):
    members = {name: member(name, tmp_path / "lock") for name in ("one", "other")}
    members["virtual"] = Member(
        Device("virtual", transport="virtual", cost_model={}), Measuring(), {}, Budget("1 ms"), {}
    )
    with Boards(members, tmp_path / "store") as boards:
        virtual = boards.of("virtual")
        for name in ("one", "other", "other", "one"):
            board = boards.of(name)
            assert board.device.name == name and boards.of(name) is board
        assert boards.of("virtual") is virtual  # a board of its own stays open
    with Boards({"one": members["one"]}, tmp_path / "store"):
        pass  # the lock is free again


def test_the_clock_of_a_fleet_stands_still_while_a_lock_is_waited_for_or_a_link_is_lost(tmp_path):
    """The lock is held by somebody else for a while; each seventh point takes the other member's link down."""
    waiting, losing = member("waiting", tmp_path / "lock"), member("losing", tmp_path / "none")
    waiting = replace(waiting, device=replace(waiting.device, lock_wait_s=60.0))
    model = {"faults": {"drop_link_every": 7}}
    losing = replace(losing, device=Device("losing", transport="virtual", cost_model=model))
    graph = engine_graph(full_architecture(SPECS["mobilenet"]()))
    points = [point(tile, name, losing.device, key=name) for name, tile in graph.tiles().items()]
    held = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    threading.Timer(2.0, os.close, [held]).start()
    boards = Boards({"waiting": waiting, "losing": losing}, tmp_path / "store")
    start, start_s = time.monotonic(), boards.clock_s()
    with boards:
        opening_s = time.monotonic() - start
        assert opening_s > 1.5 and boards.clock_s() - start_s < 0.1
        board, start = boards.of("losing"), time.monotonic()
        for six in (points[:6], points[6:12]):
            assert len(board.measure(six, Protocol(processes=1, rounds=3), progress=False)) == 6
        wall_s = time.monotonic() - start
        assert board.away_s > 0
        assert boards.clock_s() - start_s == pytest.approx(wall_s - board.away_s, abs=0.1)


def test_what_a_fleet_cost_leaves_out_how_long_its_boards_were_waited_for(tmp_path, monkeypatch):
    case = fleet_choice.Case("densenet", 0, tmp_path, ["comb", "slope"])
    real, delay_s = fleet_boards.open_board, 2.0

    @contextlib.contextmanager
    def late(*arguments):
        time.sleep(delay_s)  # as if somebody else had the board
        with real(*arguments) as board:
            yield board

    monkeypatch.setattr(fleet_boards, "open_board", late)
    start = time.monotonic()
    made = case.together(["comb", "slope"], fleet_choice.BUDGETS["full / 1.5"])
    assert 0 < made["search_s"] < time.monotonic() - start - 2 * delay_s


def test_a_member_that_is_not_as_it_was_is_refused_and_all_boards_are_let_go(tmp_path):
    before = {
        "latency/other.parquet": {"fingerprint": "0" * 16, "engine": "onnxruntime", "engine_version": "1"}
    }
    fine = member("fine", tmp_path / "lock")
    model = {"transport": "virtual", "cost_model": {}}
    changed = Member(Device("other", **model), Measuring(), {}, Budget("1 ms"), before)
    with pytest.raises(HakdError, match=r"device other: engine: has another engine than latency/other"):
        Boards({"fine": fine, "other": changed}, tmp_path / "store").__enter__()
    with Boards({"fine": fine}, tmp_path / "store"):
        pass


def test_a_network_that_the_tables_do_not_hold_has_no_prediction_and_no_cost_of_sharing():
    spec = SPECS["densenet"]()
    full = full_architecture(spec)
    least = Architecture(spec, dict.fromkeys(full.widths, 1))
    tiles = tuple(
        TileTable(group, (group,), {(width,): 0.1}, {(width,): 0.0}) for group, width in full.widths.items()
    )
    asked = FleetProblem(
        {name: Tables(tiles, 0.0, {}, {}, 0.01) for name in "ab"},
        {group: {width: 0.0} for group, width in full.widths.items()},
        {"a": 0.5, "b": 0.6},
        {"a": 0.0, "b": 0.0},
    )
    budgets = dict.fromkeys("ab", Budget("the latency of random", least))
    made = described(Verified(least.widths, (), None, "why"), asked, budgets, full, 10.0)
    assert json.dumps(made, allow_nan=False)
    assert made["arch"] == least.arch and made["lost_share"] is None
    assert all(one["saliency"] is None for one in made["groups"])
    for one in made["devices"].values():
        assert one["sharing"] is None and one["predicted_ms"] is None and one["verified"]
