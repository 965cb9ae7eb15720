# What the rules share: wildcard constraints, tracked settings and code, files that a choice decides on. No rules.
from hakd.boards.points import PROTOCOL
from hakd.study.branches import candidate_lists
from hakd.study.candidates import baselines, by_tables, student_paths
from hakd.records.arch import read_architecture
from hakd.records.code import script_digest
from hakd.study.configuration import DEVICE_FILES, level_text, settings

DEVICES, NETWORKS = config["run"]["devices"], config["run"]["networks"]
LEVELS = [level_text(level) for level in sorted(config["run"]["levels"])]
BY_TABLES = by_tables(config)
SEARCH_SEED = min(config["run"]["seeds"])
CONTRASTS = ["results/contrasts.csv"] if config["analysis"]["contrasts"] else []
MEASURING = ("hakd.boards",)  # tracked by PROTOCOL: a refactored agent re-measures nothing


def one_of(names):
    """Wildcard constraint: exactly one of these names."""
    return "|".join(re.escape(str(name)) for name in names)


wildcard_constraints:
    network=one_of(config["networks"]),
    device=one_of(config["devices"]),
    level=r"[0-9.]+(e-[0-9]+)?",
    density=r"[0-9.]+(e-[0-9]+)?",
    seed=r"[0-9]+",
    arch=r"[0-9a-f]{12}",
    recipe="scratch|distilled",
    loss=one_of(["ce", "logits", "at", "at+logits"]),


def setting(path):
    """A params function of the wildcards alone: tracked by value, so key order and 10.0 for 10 rerun nothing."""

    def value(wildcards):
        return settings(config, path.format(**wildcards))

    return value


def selection(path):
    """As `setting`, of a list whose order says nothing: sorted, so another order reruns nothing."""

    def value(wildcards):
        return sorted(settings(config, path))

    return value


def training_device(wildcards, input):
    """Where training runs. Not tracked, for it asks for `input` too: `cpu` instead of `auto` reruns nothing."""
    return settings(config, "training/device")


def code(script, skip=()):
    """Digest of a rule's script and of the package code that it uses: a change of these reruns the rule."""
    return script_digest(os.path.join(workflow.basedir, "workflow", "scripts", f"{script}.py"), skip)


def candidate_files(wildcards):
    """Every student file of (network, level, device); known once the widths are chosen."""
    chosen = checkpoints.snap.get(**wildcards).output[0]
    widths = f"results/{wildcards.network}/widths/{wildcards.level}.json"
    return student_paths(config, wildcards.network, wildcards.level, wildcards.device, chosen, widths)


def baseline_files(wildcards):
    """Teachers and compressed networks of a network: chosen for no device, at no level."""
    return [path for entry in baselines(config, wildcards.network) for path in entry.files]


def student_widths(wildcards):
    """Widths of a student, by its content hash: immutable, so a re-measured board retrains nothing."""
    return dict(read_architecture(f"results/architectures/{wildcards.arch}.json").widths)


def device_candidates(wildcards):
    """The lists of all candidates that a device times."""
    return candidate_lists(config, wildcards.device)
