"""The transport `virtual`: an agent that computes its answers, from a cost model or from recorded latencies.

It speaks the protocol of a real board, in a separate process, so everything above it is exercised without hardware,
quickly, and with known true latencies. Its clock is simulated.
"""

import json
import math
import os
import sys
import threading
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hakd.boards import agent
from hakd.boards.cost_model import CostedLayer, CostModel, cost_model_from
from hakd.boards.device import Device
from hakd.boards.lost import LinkLost
from hakd.boards.worker import unpack
from hakd.records.errors import HakdError

CWD = None  # the path of a recorded table starts from the working directory
VERSION = "virtual-1"
_STRIDE = 1000  # bursts after which the random walk has the spread that `drift` says
_BOOT = "import sys;sys.path.insert(0,sys.argv[1]);from hakd.boards import virtual;virtual.main()"


def command(device: Device) -> list[str]:
    """Command line of the simulated agent."""
    return [sys.executable, "-c", _BOOT, str(Path(__file__).parents[2])]


def settings(device: Device) -> dict[str, Any]:
    """What the simulation computes from, as it goes over the wire.

    Raises:
        HakdError: the recorded table cannot be read.
    """
    if device.table is None:
        return {"cost_model": device.cost_model}
    from hakd.records.tables import read_table

    rows, _ = read_table(Path(device.table).expanduser(), "latency")
    pairs = zip(rows["shape"], rows["latency_ms"], strict=True)
    return {"recorded": {str(shape): float(ms) for shape, ms in pairs}}


def explain(device: Device, status: int, words: str, heard: bool) -> HakdError | None:
    """The error for a link that was dropped on purpose."""
    if status == _DROPPED:
        return LinkLost(
            "the link was lost (faults: drop_link_every)",
            where=f"device {device.name}",
            remedy="Run the same command again: it continues where it stopped",
        )
    return None


def turned_away(words: str) -> bool:
    """Never."""
    return False


_DROPPED = 77


def layers_of(model: bytes) -> list[CostedLayer]:
    """Convolutions and linear layers of an ONNX model, in order.

    Raises:
        KeyError: no shapes, or a convolution whose weights are not in the model.
    """
    import onnx

    loaded = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    graph = loaded.graph
    shapes = {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            found.append(_convolution(node, weights[node.input[1]], shapes))
        elif node.op_type in ("Gemm", "MatMul"):
            cout, cin = shapes[node.output[0]][-1], shapes[node.input[0]][-1]
            found.append(CostedLayer(cout, cin, 1, math.prod(shapes[node.output[0]][:-1])))
    return found


def _convolution(node: Any, weight: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> CostedLayer:
    """A convolution of any number of axes; a transposed one has its inputs first and computes once for each of them."""
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    first, second, *kernel = weight
    if node.op_type == "ConvTranspose":
        cout, cin, (batch, _, *size) = second * groups, first, shapes[node.input[0]]
    else:
        cout, cin, (batch, _, *size) = first, second * groups, shapes[node.output[0]]
    return CostedLayer(cout, cin, math.prod(kernel), batch * math.prod(size), groups)


class Simulation:
    """Answers a session's jobs."""

    def __init__(self, settings: Mapping[str, Any], voice: agent.LineWriter) -> None:
        import numpy

        self.numpy, self.voice = numpy, voice
        self.model: CostModel | None = None
        self.recorded: dict[str, float] = settings.get("recorded") or {}
        if settings.get("cost_model") is not None:
            self.model = cost_model_from(settings["cost_model"])
        self.points: dict[str, dict[str, Any]] = {}
        self.true_us: dict[str, float] = {}
        self.numbered: dict[str, int] = {}
        self.faulted: set[tuple[str, str]] = set()
        self.walk, self.clock_ns = 0.0, 0

    def hello(self) -> None:
        """Say what the device is: the parameters are its hardware; noise, faults and seed are conditions."""
        still = ("noise", "faults", "seed")
        about = (
            {k: v for k, v in self.model.to_dict().items() if k not in still} if self.model else self.recorded
        )
        name = f"virtual-{zlib.crc32(json.dumps(about, sort_keys=True).encode()):08x}"
        if self.model:
            name += f"-{self.model.seed}"
        hardware = {"machine": "virtual", "cpu_model": name, "isa_flags": [], "cpus": 1, "serial": None}
        self.voice.say(
            "hello", hardware=hardware, context={"host": name}, engine_version=VERSION, numpy_version="none"
        )

    def load(self, points: list[dict[str, Any]]) -> None:
        """Take the points of the next jobs."""
        self.points = {point["key"]: point for point in points}

    def run(self, frame: Mapping[str, Any]) -> None:
        """Answer a job with the messages that a worker would send."""
        ended = {"outcome": "ok", "key": None, "detail": ""}
        ready = []
        for key in frame["keys"]:
            fault = self._fault(key)
            if fault is not None:
                ended = fault
                break
            try:
                self._true_us(key)
            except (ValueError, KeyError) as problem:
                self.voice.say(
                    "failed", job=frame["job"], key=key, reason=str(problem) or "cannot be simulated"
                )
                continue
            ready.append(key)
            self.voice.say("ready", job=frame["job"], key=key, max_abs_error=None)
        if ended["outcome"] == "ok" and frame["kind"] == "memory":
            for key in ready:
                self.voice.say(
                    "memory", job=frame["job"], key=key, bytes=2 * len(unpack(self.points[key]["model"]))
                )
        elif ended["outcome"] == "ok":
            self._time(frame, ready)
        self.voice.say("done", job=frame["job"], **ended)

    def _fault(self, key: str) -> dict[str, Any] | None:
        """The fault that is due now: each point counts once, and each kind of fault happens once to it."""
        if self.model is None:
            return None
        number = self.numbered.setdefault(key, len(self.numbered) + 1)
        for kind, every in vars(self.model.faults).items():
            if every and number % every == 0 and (kind, key) not in self.faulted:
                self.faulted.add((kind, key))
                if kind == "drop_link_every":
                    os._exit(_DROPPED)
                if kind == "hang_every":
                    return {"outcome": "timeout", "key": key, "detail": "no progress (simulated)"}
                return {"outcome": "signal", "key": key, "detail": "SIGSEGV (simulated)"}
        return None

    def _true_us(self, key: str) -> float:
        if key not in self.true_us:
            if self.model is not None:
                self.true_us[key] = self.model.cost_us(layers_of(unpack(self.points[key]["model"])))
            elif key in self.recorded:
                self.true_us[key] = 1e3 * self.recorded[key]
            else:
                raise ValueError("not in the recorded table")
        return self.true_us[key]

    def _time(self, frame: Mapping[str, Any], ready: list[str]) -> None:
        """Bursts in fresh random order of each round, each with its noise."""
        noise = self.model.noise if self.model else None
        seed = self.model.seed if self.model else 0
        draws = self.numpy.random.default_rng(
            [seed, frame["job"], zlib.crc32("\n".join(frame["keys"]).encode())]
        )
        process = math.exp(draws.normal(0, noise.process_sigma)) if noise else 1.0
        rounds = {key: set(frame["rounds"].get(key, ())) for key in ready}
        for turn in sorted(set().union(*rounds.values())):
            visits = [(key, False) for key in ready if turn in rounds[key]]
            visits += [(key, True) for key in ready if key == frame["reference_key"]]
            for position, place in enumerate(draws.permutation(len(visits))):
                key, is_reference = visits[place]
                time_us = self._true_us(key) * process
                if noise:
                    self.walk += draws.normal(0, noise.drift / math.sqrt(_STRIDE))
                    time_us *= max(0.1, 1 + draws.normal(0, noise.sigma)) * math.exp(self.walk)
                    if draws.random() < noise.spike_probability:
                        time_us *= noise.spike_factor
                limits = frame["protocol"]
                wanted = round(limits["burst_ms"] * 1e3 / time_us)
                calls = max(limits["min_calls"], min(limits["max_calls"], wanted))
                slowed = [1.0, 1.0]  # of the fastest call and of the median one
                if noise and noise.interference_share:
                    share = min(1.0, 2 * noise.interference_share * draws.random())
                    slow = draws.binomial(calls, share)
                    slowed = [
                        noise.interference_factor if slow > least else 1.0 for least in (calls - 1, calls / 2)
                    ]
                self._say_burst(
                    frame, key, turn, position, is_reference, calls, [time_us * one for one in slowed]
                )

    def _say_burst(
        self,
        frame: Mapping[str, Any],
        key: str,
        turn: int,
        position: int,
        reference: bool,
        calls: int,
        times_us: list[float],
    ) -> None:
        fastest_us, median_us = times_us
        median_ns = max(1, round(1e3 * median_us))
        self.clock_ns += (calls + 2) * median_ns
        self.voice.say(
            "burst",
            job=frame["job"],
            key=key,
            round=turn,
            position=position,
            reference=reference,
            calls=calls,
            min_ns=max(1, round(1e3 * fastest_us)),
            median_ns=median_ns,
            switches=0,
            clock_mhz=None,
            cpu_ratio=1.0,
            at_ns=self.clock_ns,
        )


def main() -> None:
    """Serve the client at stdin until it hangs up."""
    stream = sys.stdin.buffer
    stream.read(int(stream.readline()))  # the source of the real agent
    config = agent.read_frame(stream)
    if config is None:
        return
    voice = agent.LineWriter(1, config["tag"])
    simulation = Simulation(config["virtual"], voice)
    simulation.hello()
    threading.Thread(target=_beat, args=(voice,), daemon=True).start()
    while (frame := agent.read_frame(stream)) is not None:
        if frame["do"] == "load":
            simulation.load(frame["points"])
        elif frame["do"] == "run":
            simulation.run(frame)
        elif frame["do"] == "bye":
            voice.say("bye", context={})
            return


def _beat(voice: agent.LineWriter) -> None:
    while True:
        time.sleep(agent.BEAT_S)
        voice.say("beat")
