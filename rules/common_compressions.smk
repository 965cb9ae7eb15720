# What the rules need that compress networks. No rules.
from hakd.deep_compression.settings import OF_WEIGHT_PRUNING, PAPER
from hakd.study.candidates import COMPRESSIONS, uncompressed_path
from hakd.study.recipes import TRAINED_AS

TRAINED = one_of(["teacher", "students", *COMPRESSIONS])  # folders of networks that candidates are


def compressed_by(*methods, suffix=""):
    """Wildcard constraint: compressed teachers of these methods, and students of the recipes that end so."""
    recipes = one_of(name for name in TRAINED_AS if suffix and name.endswith(suffix))
    students = rf"|students/[0-9a-f]{{12}}/{PATTERN}({recipes})-[^/]+" if recipes else ""
    return rf"({one_of(methods)})/[0-9.e-]+{students}"


wildcard_constraints:
    compressed=compressed_by(*COMPRESSIONS, suffix=("coded", "ternary")),


def uncompressed(wildcards):
    """The network that a compressed file is made from."""
    return uncompressed_path(config, f"results/{wildcards.network}/{wildcards.compressed}-{wildcards.seed}")


def density(wildcards):
    """The fraction of the weights that a compressed file holds."""
    kind, _, name = wildcards.compressed.partition("/")
    return settings(config, "deep_compression/student_density") if kind == "students" else float(name)


def compression_settings(wildcards):
    """The settings of Deep Compression, those of the paper in place of the configuration's for its own method."""
    own = settings(config, "deep_compression/compression")
    return own | PAPER if wildcards.compressed.startswith("deep_compression_paper/") else own


def pruning_settings(wildcards):
    """The settings of Deep Compression that its pruning depends on."""
    own = settings(config, "deep_compression/compression")
    return {key: own[key] for key in OF_WEIGHT_PRUNING}
