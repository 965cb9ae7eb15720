# What the rules share: wildcard constraints, tracked settings and code, files that a choice decides on. No rules.
from hakd.boards.points import PROTOCOL
from hakd.study.branches import candidate_lists
from hakd.study.candidates import baselines, by_tables, student_paths
from hakd.records.arch import read_architecture
from hakd.records.code import script_digest
from hakd.study.configuration import DEVICE_FILES, level_text, settings

DEVICES, NETWORKS = config["run"]["devices"], config["run"]["networks"]
LEVELS = [level_text(level) for level in config["run"]["levels"]]
BY_TABLES = by_tables(config)
SEARCH_SEED = config["run"]["seeds"][0]
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


def code(script, skip=()):
    """Digest of the package code that a rule's script uses: a change of it reruns the rule, and no other change."""
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
