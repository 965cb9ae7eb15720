# What the rules share: wildcard constraints, tracked settings and code, files that a choice decides on. No rules.
from hakd.boards.points import PROTOCOL
from hakd.study.candidates import by_tables
from hakd.data.changes import content_settings, images_state, places
from hakd.records.code import folder_digest, script_digest
from hakd.study.configuration import DEVICE_FILES, canonical, settings
from hakd.study.images import image_side
from hakd.study.levels import level_text
from hakd.study.precisions import FORMS
from hakd.study.recipes import LOSSES, OF_PRUNING
from hakd.study.searches import PATTERN, searches

DEVICES, NETWORKS = config["run"]["devices"], config["run"]["networks"]
LEVELS = [level_text(level) for level in sorted(config["run"]["levels"])]
BY_TABLES = by_tables(config)
SEARCHES = [search.folder for search in searches(config)]
CONTRASTS = ["results/contrasts.csv"] if config["analysis"]["contrasts"] else []
MEASURING = ("hakd.boards",)  # tracked by PROTOCOL: a refactored agent re-measures nothing


def one_of(names):
    """Wildcard constraint: exactly one of these names."""
    return "|".join(re.escape(str(name)) for name in names)


wildcard_constraints:
    network=one_of(config["networks"]),
    device=one_of(config["devices"]),
    level=r"[0-9.]+(e-[0-9]+)?",
    seed=r"[0-9]+",
    search=PATTERN,
    arch=r"[0-9a-f]{12}",
    recipe="scratch|distilled",
    loss=one_of(LOSSES),
    form=rf"({one_of(FORMS.values())})?",  # of candidates' files: empty is the exported network


def setting(path):
    """A params function of the wildcards alone: tracked by value, so key order and 10.0 for 10 rerun nothing."""

    def value(wildcards):
        return settings(config, path.format(**wildcards))

    return value


def selection(path):
    """As `setting`, of a list (or lists by name) whose order says nothing: sorted, so another order reruns nothing."""

    def value(wildcards):
        found = settings(config, path.format(**wildcards))
        return {key: sorted(one) for key, one in found.items()} if isinstance(found, dict) else sorted(found)

    return value


def training_device(wildcards, input):
    """Where training runs. Not tracked, for it asks for `input` too: `cpu` instead of `auto` reruns nothing."""
    return settings(config, "training/device")


def training_gpus(wildcards):
    """GPUs that a training asks a cluster for. `auto` asks for none: what a node has is not known here."""
    return 1 if settings(config, "training/device") == "cuda" else None


def data_content(wildcards):
    """What the data set's content depends on."""
    return canonical(content_settings(config["data"]))


def data_places(wildcards, input):
    """Where its files are. Not tracked, for it asks for `input` too: the same files elsewhere rerun nothing."""
    return places(config["data"])


def data_images(wildcards):
    """The state of the user's own images."""
    return images_state(config["data"], "results/data")


def code(script, skip=()):
    """Digest of a rule's script and of the package code that it uses: a change of these reruns the rule."""
    return script_digest(os.path.join(workflow.basedir, "workflow", "scripts", f"{script}.py"), skip)


def settings_of_loss(name):
    """The settings that a loss depends on."""
    return {key: settings(config, f"students/{key}") for key in LOSSES[name]}
