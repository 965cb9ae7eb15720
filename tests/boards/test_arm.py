"""ARM boards with ARM programs: real wheels, real outputs, old and new Pythons. Timings mean nothing here."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import pytest

from hakd.boards import Board, Device, Point, Protocol, open_board
from hakd.boards.journal import read
from hakd.networks.families import full_architecture
from hakd.sweeping.parts import engine_graph, point
from tests.boards.arm_board import ArmBoard, arm_board
from tests.boards.arm_image import PI2, PI4, Recipe
from tests.boards.rigs.needs import Unavailable
from tests.boards.skipping import system_part
from tests.unit.builders import small_mobilenet

pytestmark = [pytest.mark.beside, pytest.mark.xdist_group("arm")]


def wheels(*names: str) -> tuple[str, ...]:
    """Packages in the versions that are installed here."""
    return tuple(f"{name}=={version(name)}" for name in names)


USED = ("numpy", "onnxruntime")
CURRENT = Recipe(PI4, "bookworm", wheels("onnxruntime", "ai-edge-litert", "ncnn"), imports=USED)
OLDEST = Recipe(PI4, "bullseye", ("onnxruntime==1.19.2",), imports=USED)
NEWEST = [
    Recipe(PI4, suite, wheels("onnxruntime"), imports=USED, door=CURRENT)
    for suite in ("forky", "trixie")  # Debian's next release may be in any state
]
# The registry has no numpy for 32-bit ARM: it comes from Debian.
ARMV7 = Recipe(
    PI2, "bookworm", (*wheels("ncnn"), "tflite-runtime==2.14.0"), ("python3-numpy",), False, ("numpy", "ncnn")
)
# Calls take milliseconds under emulation.
SHORT = Protocol(
    processes=1, rounds=2, burst_ms=0.1, min_calls=1, warmup_calls=1, warmup_ms=0.1, point_timeout_s=120
)


@pytest.fixture(scope="module")
def switched_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ArmBoard]]:
    """The board of the first recipe that can be had, on until the tests here are done."""
    boards: dict[Recipe, ArmBoard] = {}
    with ExitStack() as stack:

        def switch_on(*recipes: Recipe) -> ArmBoard:
            lacks = []
            for recipe in recipes:
                try:
                    if recipe not in boards:
                        folder = tmp_path_factory.mktemp(recipe.suite) / "board"
                        boards[recipe] = stack.enter_context(arm_board(recipe, folder))
                    return boards[recipe]
                except Unavailable as lack:
                    lacks.append(str(lack))
            with system_part():
                raise Unavailable("; ".join(lacks))

        yield switch_on


def blocks(engine: str, count: int) -> list[Point]:
    """Blocks of a narrow MobileNet as the engine takes them, each with its output as torch computes it."""
    device = Device("board", engine=engine)
    tiles = list(engine_graph(full_architecture(small_mobilenet())).tiles().items())[:count]
    return [point(tile, name, device) for name, tile in tiles]


def checks(store: Path) -> dict[str, float]:
    """Largest difference from torch's output, by point."""
    records = [record for path in store.glob("*/*.jsonl") for record in read(path)]
    return {r["key"]: r["max_abs_error"] for r in records if r["type"] == "check"}


def sweep(board: Board, store: Path, points: list[Point]) -> dict[str, float]:
    """Time the points; the checks of their outputs."""
    found = board.measure(points, SHORT, progress=False)
    assert board.failures == {}
    assert {key: len(bursts) for key, bursts in found.items()} == {p.key: SHORT.rounds for p in points}
    assert all(0 < burst.min_ns <= burst.median_ns for bursts in found.values() for burst in bursts)
    errors = checks(store)
    assert errors.keys() == {p.key for p in points} and all(0 <= error < 1e-4 for error in errors.values())
    return errors


def test_blocks_of_a_network_are_timed_and_right_on_an_aarch64_board(switched_on, local, tmp_path):
    arm, points, store = switched_on(CURRENT), blocks("onnxruntime", 3), tmp_path / "store"
    with open_board(Device.from_config("pi4", arm.device()), store) as board:
        sweep(board, store, points)
        weights = board.memory(points[:1], progress=False)
        about = board.context
    assert about["machine"] == "aarch64" and about["python"].startswith("3.11.")
    assert about["isa_flags"] == ["asimd", "cpuid", "crc32", "evtstrm", "fp"]
    assert "0xd08" in about["cpu_model"]  # Cortex-A72
    assert (about["governor"], about["clock_mhz"], about["temperature_c"]) == ("ondemand", 1500.0, 48.312)
    assert about["throttle"]["get_throttled"] == "throttled=0x50000"
    assert 0 < weights[points[0].key] < 64 << 20
    assert arm.interpreters() == []
    assert arm.written() == {"tmp/hakd.lock"}
    with open_board(local(), tmp_path / "other") as here:
        sweep(here, tmp_path / "other", points)
        assert here.fingerprint != board.fingerprint


@pytest.mark.parametrize(
    ("recipes", "pythons"), [([OLDEST], {"3.9"}), (NEWEST, {"3.13", "3.14"})], ids=["oldest", "newest"]
)
def test_agent_and_worker_run_on_the_oldest_and_the_newest_python(switched_on, tmp_path, recipes, pythons):
    arm, store = switched_on(*recipes), tmp_path / "store"
    with open_board(Device.from_config("board", arm.device()), store) as board:
        sweep(board, store, blocks("onnxruntime", 1))
    assert board.context["python"].startswith(f"{arm.python}.") and arm.python in pythons
    assert arm.interpreters() == []


@pytest.mark.parametrize("engine", ["litert", "ncnn"])
@pytest.mark.parametrize("recipe", [CURRENT, ARMV7], ids=["aarch64", "armv7l"])
def test_the_other_engines_run_on_arm(switched_on, tmp_path, recipe, engine):
    arm, store = switched_on(recipe), tmp_path / "store"
    with open_board(Device.from_config("board", arm.device(engine=engine)), store) as board:
        sweep(board, store, blocks(engine, 2))
    assert board.context["machine"] == recipe.kind.machine
    assert {"asimd", "neon"} & set(board.context["isa_flags"])
    assert arm.interpreters() == []
