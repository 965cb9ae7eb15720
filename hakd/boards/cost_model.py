"""The cost model of a virtual device: the time of a graph by a formula that anyone can compute.

    convolution, linear layer   us_per_mmac * g * padded(cout / g) * cin / g * area * pixels / 1e6
                                * penalty_in, if cin / g is not a multiple of tile_in
                                * factor of each hump whose range holds cout (ends included)
    depthwise convolution       depthwise_us_per_mmac * cout * area * pixels / 1e6
    everything else             nothing
    a timed graph               overhead_us + the sum

with g the number of groups (1 where there are none), padded(n) = ceil(n / tile_out) * tile_out, area the product of the
kernel's sizes along all its axes, and pixels those of a batch of outputs (of inputs for a transposed convolution). So
each group is a separate convolution, which pads its own outputs and reads its own inputs. A convolution is depthwise
where each input channel is its own group, whatever the number of its outputs; of one channel it is dense.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hakd.records.errors import HakdError

_WHERE = "cost_model"


@dataclass(frozen=True)
class Hump:
    """Output widths `out` (first, last) at which a dense convolution takes `factor` as long."""

    out: tuple[int, int]
    factor: float


@dataclass(frozen=True)
class Noise:
    """The factors of a burst's time: all spreads are of logarithms or fractions, 0.01 is 1 %.

    sigma: of each burst. spike_probability, spike_factor: of a disturbed burst. drift: of a random walk, after a
    thousand bursts of a session. process_sigma: of a factor that all bursts of a process share. interference_share:
    mean share of a burst's calls that another process slows (0 to twice as much from burst to burst);
    interference_factor: how much longer these calls take.
    """

    sigma: float = 0.0
    spike_probability: float = 0.0
    spike_factor: float = 1.5
    drift: float = 0.0
    process_sigma: float = 0.0
    interference_share: float = 0.0
    interference_factor: float = 1.3


@dataclass(frozen=True)
class Faults:
    """Every n-th point of a session crashes its worker, hangs it, or takes the link down, once; 0: never."""

    crash_every: int = 0
    hang_every: int = 0
    drop_link_every: int = 0


@dataclass(frozen=True)
class CostedLayer:
    """A convolution or linear layer.

    Attributes:
        cout: its outputs, of all groups together.
        cin: its inputs, of all groups together.
        area: product of the kernel's sizes, such as height x width; 1 for a linear layer.
        pixels: batch x height x width of its output, or of its input for a transposed convolution.
        groups: into which its channels are divided.
    """

    cout: int
    cin: int
    area: int
    pixels: int
    groups: int = 1

    @property
    def depthwise(self) -> bool:
        """Whether each input channel is its own group."""
        return self.groups == self.cin > 1


@dataclass(frozen=True)
class CostModel:
    """Parameters of the formula; times in microseconds, per million multiply-accumulates."""

    overhead_us: float = 3.0
    us_per_mmac: float = 12.0
    depthwise_us_per_mmac: float = 30.0
    tile_out: int = 1
    tile_in: int = 1
    penalty_in: float = 1.0
    humps: tuple[Hump, ...] = ()
    noise: Noise = field(default_factory=Noise)
    faults: Faults = field(default_factory=Faults)
    seed: int = 0

    def cost_us(self, layers: Iterable[CostedLayer]) -> float:
        """True time of a graph in microseconds."""
        return self.overhead_us + sum(map(self._layer_us, layers))

    def _layer_us(self, layer: CostedLayer) -> float:
        places = layer.area * layer.pixels / 1e6
        if layer.depthwise:
            return self.depthwise_us_per_mmac * layer.cout * places
        cout, cin = layer.cout // layer.groups, layer.cin // layer.groups
        # The sum over the groups: g times padded outputs and inputs / g is padded outputs and all inputs.
        cost = self.us_per_mmac * -(-cout // self.tile_out) * self.tile_out * layer.cin * places
        if cin % self.tile_in:
            cost *= self.penalty_in
        for hump in self.humps:
            if hump.out[0] <= layer.cout <= hump.out[1]:
                cost *= hump.factor
        return cost

    def to_dict(self) -> dict[str, Any]:
        """As configurations and the wire hold it."""
        made = asdict(self)
        return {**made, "humps": [{**hump, "out": list(hump["out"])} for hump in made["humps"]]}


def cost_model_from(settings: object, where: object = None) -> CostModel:
    """A cost model from its entry in the configuration.

    Raises:
        HakdError: an unknown key, or a value of the wrong kind or out of range.
    """
    content = _mapping(settings, CostModel, where, _WHERE)
    for name in ("overhead_us", "us_per_mmac", "depthwise_us_per_mmac"):
        _number(content, name, 0.0, 1e9, where, _WHERE)
    _number(content, "penalty_in", 0.1, 100.0, where, _WHERE)
    for name in ("tile_out", "tile_in"):
        _whole(content, name, 1, 4096, where, _WHERE)
    _whole(content, "seed", 0, 2**32 - 1, where, _WHERE)
    if "humps" in content:
        entries = content["humps"]
        if not isinstance(entries, list | tuple):
            raise _refusal(
                entries, "Give a list of {out: [first, last], factor: number}", where, f"{_WHERE}.humps"
            )
        content["humps"] = tuple(_hump(entry, where) for entry in entries)
    content["noise"] = _noise(content.get("noise", {}), where)
    content["faults"] = _faults(content.get("faults", {}), where)
    return CostModel(**content)


def _hump(entry: object, where: object) -> Hump:
    key = f"{_WHERE}.humps"
    content = _mapping(entry, Hump, where, key)
    _number(content, "factor", 0.1, 100.0, where, key)
    out = content.get("out")
    if (
        not isinstance(out, list | tuple)
        or len(out) != 2
        or not all(type(n) is int and n > 0 for n in out)
        or out[0] > out[1]
        or "factor" not in content
    ):
        raise _refusal(entry, "Give {out: [first, last], factor: number}", where, key)
    return Hump((out[0], out[1]), content["factor"])


def _noise(entry: object, where: object) -> Noise:
    key = f"{_WHERE}.noise"
    content = _mapping(entry, Noise, where, key)
    for name in ("sigma", "spike_probability", "process_sigma", "interference_share"):
        _number(content, name, 0.0, 1.0, where, key)
    _number(content, "drift", 0.0, 10.0, where, key)
    for name in ("spike_factor", "interference_factor"):
        _number(content, name, 0.1, 1000.0, where, key)
    return Noise(**content)


def _faults(entry: object, where: object) -> Faults:
    key = f"{_WHERE}.faults"
    content = _mapping(entry, Faults, where, key)
    for name in content:
        _whole(content, name, 0, 10**9, where, key)
    return Faults(**content)


def _mapping(value: object, kind: type, where: object, key: str) -> dict[str, Any]:
    """The value as a mapping with keys that `kind` has."""
    known = [found.name for found in fields(kind)]
    if not isinstance(value, Mapping):
        raise _refusal(value, f"Give a mapping with some of: {', '.join(known)}", where, key)
    for name in value:
        if name not in known:
            raise HakdError(
                f"unknown key {name!r}", where=where, key=key, remedy=f"Known: {', '.join(known)}"
            )
    return dict(value)


def _number(content: Mapping[str, Any], name: str, low: float, high: float, where: object, key: str) -> None:
    value = content.get(name, low)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _refusal(value, f"Give a number from {low:g} to {high:g}", where, f"{key}.{name}")


def _whole(content: Mapping[str, Any], name: str, low: int, high: int, where: object, key: str) -> None:
    value = content.get(name, low)
    if type(value) is not int or not low <= value <= high:
        raise _refusal(value, f"Give a whole number from {low} to {high}", where, f"{key}.{name}")


def _refusal(value: object, remedy: str, where: object, key: str) -> HakdError:
    return HakdError(f"{value!r} is not accepted", where=where, key=key, remedy=remedy)
