"""Virtual devices in this process: cost models drawn from ranges, decision blocks, and a board that needs no session.

`ComputedBoard` makes a job's bursts with the simulation that also answers over the wire (`hakd.boards.virtual`), so
its figures are those of a full session to the last bit (`python -m benchmarks.planner --check`), without models or
journals.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import Any

from hakd.boards import Burst, Device, Point, Protocol
from hakd.boards.cost_model import CostedLayer, CostModel, Hump, Noise
from hakd.boards.packing import chunks, unique
from hakd.boards.virtual import VERSION, Simulation
from hakd.networks.families import build_graph, full_widths, network_spec
from hakd.ops.tensors import Segment
from hakd.records.arch import Architecture
from hakd.records.graph import Builder, Graph, fold_batch_norm
from hakd.sweeping.following import Line
from hakd.sweeping.modes import Mode
from hakd.sweeping.parts import GraphPoint, neighbours, point

FIRST_SEED = 41_000_000  # of the benchmark's devices; no test draws from here on
ENDLESS = 4096
MODULI = {  # tiles of outputs, combs over inputs
    "usual": ((1, 4, 8, 16, 32), (1, 2, 4, 8)),
    "unusual": ((6, 10, 12, 20, 24, 40, 48), (1, 3, 5, 6, 12)),
}
NETWORKS = {
    "mobilenet025": ("mobilenet", {"multiplier": 0.25, "input_size": 32}, ("block1", "block6", "block13")),
    "mobilenet100": ("mobilenet", {"multiplier": 1.0, "input_size": 32}, ("stem", "block2", "block7")),
    "densenet12": ("densenet", {"depth": 22, "growth": 12, "input_size": 32}, ("block1.layer1",)),
    "densenet32": ("densenet", {"depth": 22, "growth": 32, "input_size": 32}, ("block2.layer2",)),
}
PLAIN = (  # kernel, side of the width, full width, pixels a side
    (3, "out", 160, 16),
    (1, "out", 160, 16),
    (3, "in", 160, 16),
    (1, "in", 160, 16),
    (1, "out", 512, 8),
    (3, "in", 640, 4),
)


def noisier(model: CostModel, number: int, sigma: tuple[float, float], interference: float) -> CostModel:
    """The device with a noise a burst drawn between two spreads, and a share of calls that others slow."""
    low, high = sigma
    drawn = low * (high / low) ** random.Random(f"{FIRST_SEED + number} noise").random()
    noise = replace(model.noise, sigma=drawn, interference_share=interference)
    return replace(model, noise=noise)


def draw_device(number: int, moduli: str = "usual") -> CostModel:
    """Virtual device number 0, 1, 2, ... of the benchmark; docs/planner.md has the ranges in words."""
    tiles_out, tiles_in = MODULI[moduli]
    rng = random.Random(FIRST_SEED + number)
    start = rng.randint(40, 300)
    first = rng.randint(10, 200)
    special = (
        (),
        (Hump((first, first + rng.randint(3, 39)), round(rng.uniform(1.05, 1.6), 3)),),
        (Hump((start, ENDLESS), round(rng.choice((rng.uniform(0.55, 0.85), rng.uniform(1.15, 1.5))), 3)),),
    )[number % 3]
    tile_in = rng.choice(tiles_in)
    noise = Noise(
        sigma=0.002 * 7.5 ** rng.random(),
        spike_probability=rng.uniform(0, 0.05),
        spike_factor=rng.uniform(1.2, 2),
        drift=rng.uniform(0, 0.1),
        process_sigma=rng.uniform(0, 0.02),
    )
    return CostModel(
        overhead_us=rng.uniform(1, 10),
        us_per_mmac=5 * 12 ** rng.random(),
        depthwise_us_per_mmac=10 * 10 ** rng.random(),
        tile_out=rng.choice(tiles_out),
        tile_in=tile_in,
        penalty_in=rng.uniform(1.05, 1.6) if tile_in > 1 else 1.0,
        humps=special,
        noise=noise,
        seed=rng.randrange(2**31),
    )


@dataclass(frozen=True)
class Block:
    """What a width shapes: `graph` makes it at a width, `around` are the neighbours' widths."""

    name: str
    full: int
    graph: Callable[[int], Graph] = field(compare=False)
    around: Mapping[str, int] = field(default_factory=dict, hash=False)


def blocks(number: int) -> list[Block]:
    """Decision blocks for a device: real ones, at random widths of the neighbours, and single convolutions."""
    rng = random.Random(f"{FIRST_SEED + number} blocks")
    found = []
    for name, (family, options, groups) in NETWORKS.items():
        spec = network_spec(name, {"family": family, **options}, 3, 10, "benchmark")
        full = full_widths(spec)
        widths = {group: max(1, round(most * rng.uniform(0.3, 1))) for group, most in full.items()}
        found += [network_block(Architecture(spec, widths), group, full[group]) for group in groups]
    for kernel, side, full, size in PLAIN:
        other = rng.randint(24, 128)
        found.append(plain_block(kernel, side, full, size, other))
    return found


def network_block(architecture: Architecture, group: str, full: int) -> Block:
    """The decision block of a group, the other groups at the architecture's widths."""

    def graph(channels: int) -> Graph:
        widened = architecture.at({group: channels})
        return fold_batch_norm(build_graph(widened))[0].block(group)

    around = neighbours(graph(full), group)
    return Block(f"{architecture.spec.name} {group}", full, graph, around)


def plain_block(kernel: int, side: str, full: int, size: int, other: int) -> Block:
    """A single convolution whose width is that of its outputs or of its inputs, `other` channels on the other side."""

    def graph(channels: int) -> Graph:
        ins, outs = (other, channels) if side == "out" else (channels, other)
        b = Builder(ins, size)
        b.tile = "block"
        return b.graph(b.conv(b.input, "conv", Segment("g" if side == "out" else None, outs), kernel))

    return Block(f"conv{kernel}x{kernel} {side} {full}", full, graph)


def layers(graph: Graph) -> list[CostedLayer]:
    """Convolutions and linear layers of a graph, as the cost model takes them (batch 1)."""
    found = []
    for op in graph.ops:
        if op.kind in ("conv", "linear"):
            at = graph.placed(op)
            cout, cin = at.out.shape[0], at.ins[0].shape[0]
            found.append(CostedLayer(cout, cin, math.prod(op.kernel), at.out.pixels, at.groups))
    return found


class Truth:
    """True times of blocks on a device, in ms, each computed once."""

    def __init__(self, model: CostModel) -> None:
        self.model = model
        self._known: dict[tuple[str, int], float] = {}

    def ms(self, block: Block, channels: int) -> float:
        """Time of a block at a width."""
        place = (block.name, channels)
        if place not in self._known:
            self._known[place] = self.model.cost_us(layers(block.graph(channels))) / 1e3
        return self._known[place]


@dataclass
class BlockLine(Line):
    """A block at a pruned width, as a sweep follows it."""

    block: Block = field(kw_only=True)


def block_line(
    block: Block,
    pruned: int,
    mode: Mode,
    level: float | None = None,
    make_point: Callable[[Block, int, Device], Point] | None = None,
) -> BlockLine:
    """The line of a block; `make_point` makes its points, on a computed board as a rule."""
    timed = partial(make_point or block_point, block)
    name = block.name
    return BlockLine(level, name, name, mode, pruned, block.full, block.around, timed, block=block)


@dataclass(frozen=True)
class BlockPoint(Point):
    """A point that knows its block, so that its true time needs no model."""

    block: Block = field(kw_only=True)
    channels: int = field(kw_only=True)


def block_point(block: Block, channels: int, device: Device) -> BlockPoint:
    """The block at a width; its model is made when it is asked for, in full sessions only."""

    return BlockPoint(
        f"{block.name} = {channels}",
        f"{block.name} = {channels}",
        lambda: point(block.graph(channels), block.name, device).model(),
        None,
        (1, 1),
        curve=block.name,
        block=block,
        channels=channels,
    )


class ComputedBoard:
    """`hakd.boards.Board.measure`, computed: chunks, processes, jobs and draws are those of a real session.

    Attributes:
        device_s: simulated device time of bursts (with their two discarded calls) and of warming up.
        processes: worker processes, whose start is not in `device_s`.
        seconds: device time by the first word of the purpose.
    """

    fingerprint, engine_version = "computed", VERSION
    context: Mapping[str, Any] = {"host": "computed"}

    def __init__(self, device: Device, truth: Truth, seed: int) -> None:
        model = replace(truth.model, seed=seed)
        self.device, self.failures = device, {}
        self._truth, self._messages = truth, []
        self._simulation = Simulation({"cost_model": model.to_dict()}, self)  # type: ignore[arg-type]
        self._store: dict[tuple[str, str], list[Burst]] = {}
        self._reference: dict[str, list[Burst]] = {}
        self._warm_s, self.processes, self.timed = 0.0, 0, 0
        self.seconds: Counter[str] = Counter()

    @property
    def device_s(self) -> float:
        return self._simulation.clock_ns / 1e9 + self._warm_s

    def clock_s(self) -> float:
        """As a board's: device time, since nothing else takes any here."""
        return self.device_s

    def say(self, kind: str, **content: Any) -> None:
        """A message of the simulation."""
        self._messages.append(content)

    def measure(
        self,
        points: Sequence[Point],
        protocol: Protocol,
        purpose: str = "sweep",
        reference_point: Point | None = None,
    ) -> dict[str, list[Burst]]:
        """Bursts by key; what this purpose has already timed is not timed again."""
        points = unique(points)
        todo = [p for p in points if (purpose, p.key) not in self._store]
        before = self.device_s
        for chunk in chunks(todo, protocol.chunk_points):
            for _ in range(protocol.processes):
                self._job(chunk, protocol, purpose, reference_point)
        self.seconds[purpose.split(":")[0]] += self.device_s - before
        self.timed += len(todo)
        found = {p.key: list(self._store[purpose, p.key]) for p in points}
        if reference_point is not None:
            key = reference_point.key
            seen = {burst.process for bursts in found.values() for burst in bursts}
            tied = [b for name in sorted(seen) for b in self._reference.get(name, ()) if b.key == key]
            found[key] = found.get(key, []) + tied
        return found

    def _true_us(self, p: Point) -> float:
        if p.key in self._simulation.true_us:
            return self._simulation.true_us[p.key]
        if isinstance(p, BlockPoint):
            return 1e3 * self._truth.ms(p.block, p.channels)
        assert isinstance(p, GraphPoint)
        return self._truth.model.cost_us(layers(p.graph))

    def _job(self, chunk: list[Point], protocol: Protocol, purpose: str, reference: Point | None) -> None:
        self.processes += 1
        keys = [p.key for p in chunk]
        if reference is not None and reference.key not in keys:
            keys.append(reference.key)
        for p in (*chunk, *([reference] if reference else [])):
            true_us = self._true_us(p)
            self._simulation.true_us[p.key] = true_us
            self._warm_s += max(protocol.warmup_ms / 1e3, protocol.warmup_calls * true_us / 1e6)
        frame = {
            "job": self.processes,
            "keys": keys,
            "rounds": {p.key: list(range(protocol.rounds)) for p in chunk},
            "reference_key": reference.key if reference else None,
            "protocol": asdict(protocol),
        }
        self._messages.clear()
        self._simulation._time(frame, keys)
        kept = {one.name for one in fields(Burst)}
        for message in self._messages:
            burst = Burst(process=str(self.processes), **{k: v for k, v in message.items() if k in kept})
            if message["reference"]:
                self._reference.setdefault(burst.process, []).append(burst)
            else:
                self._store.setdefault((purpose, burst.key), []).append(burst)
