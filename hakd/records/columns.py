"""Columns of the study's tables: names, types, ranges and meaning, in the order of the files."""

from dataclasses import dataclass

METHODS = (
    "teacher",
    "fisher",
    "hakd",
    "hakd_free",
    "joint",
    "knapsack",
    "latency_greedy",
    "race",
    "fleet",
    "round8",
    "round16",
    "round32",
    "uniform",
    "uniform_aligned",
    "random",
    "copycat",
    "l1",
    "random_order",
    "deep_compression",
    "deep_compression_paper",
    "weight_pruning",
    "ternary",
)
RECIPES = (
    "tuned",
    "scratch",
    "scratch_b",
    "distilled",
    "compressed",
    "pretrained",
    "tuned_coded",
    "distilled_coded",
    "scratch_coded",
    "tuned_ternary",
    "distilled_ternary",
    "scratch_ternary",
)
LOSSES = ("ce", "logits", "at", "at+logits", "logits-std")

DTYPES = {
    "text": "str",
    "category": "category",
    "float": "float64",
    "int": "int64",
    "int32": "int32",
    "int16": "int16",
    "bool": "bool",
    "json": "str",
}


@dataclass(frozen=True)
class Column:
    """One column: `type` is a key of `DTYPES`; `low` and `high` bound numbers, `values` lists permitted
    text."""

    name: str
    type: str
    meaning: str
    null: bool = False
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    values: tuple[str, ...] | None = None
    hashed: bool = False  # hexadecimal digits, which spreadsheets may take for a number
    late: bool = False  # came later: older tables lack it, and are read as if it were empty

    def wanted(self) -> str:
        """What a value must be, in words."""
        if self.values is not None:
            return f"one of {', '.join(self.values)}"
        if self.type == "json":
            return "a JSON object of widths by name"
        if self.type in ("text", "category"):
            return "text that is not empty"
        if self.type == "bool":
            return "true or false"
        kind = "a number" if self.type == "float" else f"a whole number ({DTYPES[self.type]})"
        ends = []
        if self.low is not None:
            ends.append(f"{'above' if self.open_low else 'from'} {self.low:g}")
        if self.high is not None:
            ends.append(f"up to {self.high:g}")
        return " ".join([kind, *ends])


def _ms(name: str, meaning: str, null: bool = False, late: bool = False) -> Column:
    return Column(name, "float", meaning, null=null, low=0, open_low=True, late=late)


def _count(name: str, meaning: str, null: bool = False, low: float = 0, late: bool = False) -> Column:
    return Column(name, "int", meaning, null=null, low=low, late=late)


def _joules(name: str, meaning: str) -> Column:
    more = "; empty: no sensor, or an older table"
    return Column(name, "float", meaning + more, null=True, low=0, late=True)


def _level(null: bool = False) -> Column:
    meaning = (
        "how far pruning went: the fraction of MACs or parameters left (compressed teachers: of weights)"
    )
    return Column("level", "float", meaning, null=null, low=0, high=1, open_low=True)


SUMMARY = (
    Column(
        "candidate",
        "text",
        "its name: architecture, recipe, loss and seed, or a compressed file",
    ),
    Column("network", "text", "architecture family at full width with its input size"),
    Column("data", "text", "data set"),
    Column("method", "text", "how the widths were chosen", values=METHODS),
    Column("recipe", "text", "how the weights were got", values=RECIPES),
    Column(
        "loss",
        "text",
        "what the last training minimised beside the cross entropy",
        values=LOSSES,
    ),
    _level(),
    Column(
        "target_device",
        "text",
        "device (method `fleet`: fleet) the widths were chosen for; empty: chosen for none",
        null=True,
    ),
    Column("device", "text", "device it was timed on"),
    Column("engine", "text", "inference engine with its version"),
    _count("threads", "threads the engine was given", low=1),
    Column(
        "precision",
        "text",
        "number format that the device computes in; empty: float32, in an older table",
        null=True,
        values=("float32", "int8"),
        late=True,
    ),
    _count("seed", "seed of the training"),
    _count(
        "search_seed",
        "seed of the teacher, the pruning and the choice that its widths come from; empty: of none, or an older table",
        null=True,
        late=True,
    ),
    Column(
        "budget",
        "text",
        "latency budget its widths were chosen for, e.g. `round16`; empty: none, or an older table",
        null=True,
        late=True,
    ),
    Column("arch", "text", "short content hash of network and widths", hashed=True),
    Column("val_accuracy", "float", "accuracy on the validation split, 0 to 1", low=0, high=1),
    Column("accuracy", "float", "accuracy on the test split, 0 to 1", low=0, high=1),
    _ms(
        "latency_ms",
        "measured latency of one inference, end to end: lower quartile over processes of fastest calls, milliseconds",
    ),
    _ms("latency_low_ms", "lower end of its 95 % interval over processes; empty: one process", null=True),
    _ms("latency_high_ms", "upper end of that interval", null=True),
    _ms("median_ms", "median call, with whatever disturbs it; empty in older tables", null=True, late=True),
    _ms(
        "predicted_ms",
        "latency predicted from the times of its tiles; empty: not measured",
        null=True,
    ),
    _count(
        "size_bytes",
        "size of the real file: the exported network, the compressed one, or the one in int8",
        low=1,
    ),
    _count("params", "trainable parameters (batch-norm scale and shift and biases included)", low=1),
    _count("nonzero_params", "those that are not zero"),
    _count("macs", "multiply-accumulates for one image, convolutions and linear layers", low=1),
    _count(
        "memory_bytes",
        "peak resident set of loading and running it, beyond the empty engine; empty: not measured",
        null=True,
    ),
    _count(
        "weight_bytes",
        "bytes of its weights once read into memory, without an engine's own copies; empty in older tables",
        null=True,
        low=1,
        late=True,
    ),
    _joules(
        "energy_mj", "energy of one inference by the device's sensor, the power at rest included, millijoules"
    ),
    _joules("energy_low_mj", "lower end of its 95 % interval over bursts"),
    _joules("energy_high_mj", "upper end of that interval"),
    _joules("idle_w", "power at rest before those bursts, watts"),
    _count(
        "train_images",
        "images seen in this recipe's own training; the shared teacher and pruning are not counted",
    ),
    _count(
        "train_macs", "multiply-accumulates spent on them (three forward passes an image, and the teacher's)"
    ),
    Column(
        "search_s",
        "float",
        "seconds spent on sweeping, choosing and verifying its widths; empty: none",
        null=True,
        low=0,
    ),
    Column(
        "search_images",
        "int",
        "images trained on to choose its widths, all contestants of `race`; empty: none",
        null=True,
        low=0,
        late=True,
    ),
    Column("trusted", "bool", "whether its latency is known to within half of the device's `min_step`"),
    Column("checkpoint_path", "text", "the weights", null=True),
    Column(
        "onnx_path",
        "text",
        "the exported network that was timed and scored; in int8 the quantised one",
        null=True,
    ),
    Column("commit", "text", "commit of the program that made it"),
    Column("config_hash", "text", "hash of the configuration that made it", null=True, hashed=True),
)

LATENCY = (
    Column("network", "text", "network the part belongs to"),
    _level(null=True),
    Column(
        "kind",
        "text",
        "tile (tiles partition the network) or block (what one width shapes)",
        values=("tile", "block"),
    ),
    Column("group", "text", "width group of a block, or name of a tile"),
    Column("shape", "text", "content hash of everything that shapes the measurement", hashed=True),
    _count(
        "width",
        "width of the group; empty for a tile (see `neighbour_widths`)",
        null=True,
        low=1,
    ),
    Column("neighbour_widths", "json", "the other widths that shape the part, JSON object by group"),
    _ms("latency_ms", "lower quartile over processes of the fastest call of each, milliseconds"),
    _ms(
        "latency_low_ms",
        "lower end of its 95 % interval, by the scatter of all points; empty: one process",
        null=True,
    ),
    _ms("latency_high_ms", "upper end of that interval", null=True),
    _ms("min_ms", "fastest single call"),
    _ms("median_ms", "median call, with whatever disturbs it; empty in older tables", null=True, late=True),
    _count("bursts", "bursts used"),
    _count("dropped", "bursts dropped because their process was interrupted"),
    _count("processes", "fresh processes that timed it", low=1),
    Column(
        "residual_p95",
        "float",
        "95th percentile over widths of the difference that two such measurements would have, drift removed",
        null=True,
        low=0,
    ),
    Column(
        "tolerance",
        "float",
        "how much slower counts as equal: half of `min_step` at most; empty: not known, or an older table",
        null=True,
        low=0,
        late=True,
    ),
    Column("trusted", "bool", "whether ratios to this width are known to within the tolerance"),
    Column("reason", "text", "what is undecided about the curve, and what would decide it", null=True),
)

PREDICTIONS = (
    Column("candidate", "category", "name of the candidate, as in the summary"),
    Column("image", "int32", "number of the image in the test split", low=0),
    Column("label", "int16", "true class", low=0),
    Column("prediction", "int16", "class the candidate gave", low=0),
    _count(
        "original",
        "original that the image shows: drawn test images share some; empty: an older table",
        null=True,
        late=True,
    ),
)


def _fraction(name: str, meaning: str) -> Column:
    return Column(name, "float", meaning, null=True, low=-1)


HAZARDS = (
    Column("device", "text", "device it was timed on"),
    Column("network", "text", "network the width group belongs to"),
    _level(null=True),
    Column("group", "text", "width group"),
    Column("neighbour_widths", "json", "widths of the other groups it was timed at, JSON object by group"),
    _count("full_width", "width before pruning", low=1),
    _count("lowest_width", "narrowest width that pruning the stated share of it leaves", low=1),
    _count("widths", "how many narrower widths that range has"),
    _count("timed", "how many of them were timed; the others are not known"),
    _count("worst_width", "the slowest of those timed; empty: none was, nothing is known", null=True, low=1),
    _fraction(
        "slowdown", "its latency over that of the full width, minus 1; below 0: all timed ones are faster"
    ),
    _count(
        "any_start", "the same from whichever timed width is worst: that width; empty: nothing known", True
    ),
    _count("any_worst", "the slowest of those timed up to the same share narrower", null=True, low=1),
    _fraction("any_slowdown", "its latency over that of `any_start`, minus 1"),
    _count("any_widths", "how many widths that range has", null=True),
    _count("any_timed", "how many of them were timed", null=True),
    Column(
        "trusted",
        "bool",
        "whether it is decided that the worst widths are slower, or that they are not",
    ),
    Column("reason", "text", "what is undecided about the curve, and what would decide it", null=True),
)

CERTIFICATES = (
    Column("network", "text", "network whose widths were chosen"),
    _level(),
    Column("method", "text", "how the widths were chosen", values=METHODS),
    Column("budget", "text", "latency budget they were chosen for; empty: none", null=True, late=True),
    Column(
        "search_seed",
        "int",
        "seed of the teacher and pruning that they come from; empty in older tables",
        null=True,
        low=0,
        late=True,
    ),
    Column(
        "scope",
        "text",
        "width (a group's decision block) or network (the whole)",
        values=("width", "network"),
    ),
    Column("group", "text", "width group; empty: the whole network", null=True),
    _count("width_from", "width before the choice", null=True, low=1),
    _count("width_to", "width that was chosen", null=True, low=1),
    _count("free_channels", "channels that came back and are shown to cost no time", null=True),
    Column(
        "ratio", "float", "latency after / before, geometric mean; empty: too few processes", null=True, low=0
    ),
    _fraction(
        "bound", "how much slower it is at most, as a fraction (below 0: faster); empty: nothing is certified"
    ),
    Column("tolerance", "float", "how much slower counts as equal; empty: not known", null=True, low=0),
    Column("shown", "bool", "whether the bound is within the tolerance"),
    Column("confidence", "float", "one-sided, of all certificates of the network together", low=0, high=1),
    _count("together", "how many bounds hold together"),
    _count("processes", "fresh processes that timed both"),
    Column("device", "text", "device it was timed on"),
    Column("engine", "text", "inference engine"),
    Column("engine_version", "text", "its version"),
    _count("threads", "threads the engine was given", low=1),
    Column("words", "text", "the certificate in a sentence"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "summary": SUMMARY,
    "latency": LATENCY,
    "predictions": PREDICTIONS,
    "hazards": HAZARDS,
    "certificates": CERTIFICATES,
}

# What makes a row the only one of its kind.
KEYS: dict[str, tuple[str, ...]] = {
    "summary": ("candidate", "device"),
    "latency": ("network", "level", "kind", "group", "width", "neighbour_widths"),
    "predictions": ("candidate", "image"),
    "hazards": ("device", "network", "level", "group", "neighbour_widths"),
    "certificates": ("network", "level", "method", "budget", "search_seed", "scope", "group", "device"),
}
