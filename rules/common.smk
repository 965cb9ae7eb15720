# What the rules share: wildcard constraints, board tokens, tracked settings and code, names of files. No rules.
from hakd.boards.points import PROTOCOL
from hakd.study.branches import reach, states, tokens, tracked
from hakd.study.candidates import baselines, by_tables, student_paths
from hakd.study.fleets import fleets_of, members
from hakd.records.arch import read_architecture
from hakd.records.code import script_digest
from hakd.study.configuration import DEVICE_FILES, level_text, settings

DEVICES, NETWORKS = config["run"]["devices"], config["run"]["networks"]
LEVELS = [level_text(level) for level in config["run"]["levels"]]
BY_TABLES = by_tables(config)
SEARCH_SEED = config["run"]["seeds"][0]
TOKENS = tokens(config["devices"])
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


def device_settings(wildcards):
    """What a device's figures depend on: tracked."""
    return tracked(config, wildcards.device)


def device_reach(wildcards, input):
    """How a device is reached. Not tracked, for it asks for `input` too: another user or key reruns nothing."""
    return reach(config, wildcards.device)


def device_states(wildcards):
    """What each device has brought so far: a summary that is new or changed reruns what depends on this."""
    return states(config)


def job_devices(wildcards):
    """The devices that a job drives: its own, or all of its fleet."""
    return members(config, wildcards.fleet) if "fleet" in wildcards.keys() else [wildcards.device]


def board_tokens():
    """One resource per board, of which there is one: at most one job at a time on a board."""
    names = sorted(set(TOKENS.values()))
    for name in names:
        workflow.global_resources.setdefault(name, 1)
    return {
        n: (lambda wildcards, n=n: 1 if any(TOKENS[d] == n for d in job_devices(wildcards)) else None)
        for n in names
    }


def measuring_threads(wildcards):
    """A job that times this machine has it alone; over any other transport the work is the board's."""
    transports = [config["devices"][device]["transport"] for device in job_devices(wildcards)]
    return 10000 if "local" in transports else 1


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
    """The lists of all candidates that a device times: its own, its fleets', and those chosen for none."""
    lists = [wildcards.device, *(f"fleets/{fleet}" for fleet in fleets_of(config, wildcards.device))]
    return expand(
        "results/candidates/{network}/{level}/{chosen_for}.json",
        network=NETWORKS,
        level=LEVELS,
        chosen_for=lists,
    ) + expand("results/candidates/{network}/baselines.json", network=NETWORKS)
