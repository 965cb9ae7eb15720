# What the rules need that read prunings. No rules.
from hakd.study.candidates import COPYCAT, PRUNINGS, baseline_students, pruned_baseline_path
from hakd.study.configuration import reach_level
from hakd.study.levels import source_state
from hakd.study.searches import search_of


wildcard_constraints:
    criterion=one_of(["fisher", *PRUNINGS]),
    method=one_of([*PRUNINGS, COPYCAT]),


def search_seed(wildcards):
    """The seed of the search that a file belongs to."""
    return search_of(config, wildcards.search).seed


def search_teacher(wildcards):
    """The teacher that a search prunes."""
    return teacher_path(config, wildcards.network, search_seed(wildcards))


def is_asked(wildcards, input):
    """Whether the study asks for a level, so that it must be reached; any other goes as far as can be.

    Not tracked, for it asks for `input` too: a level that is no longer asked for is not pruned again.
    """
    return wildcards.level in LEVELS


def higher_state(wildcards):
    """The kept state that a level is pruned from; none for the one that starts from the teacher."""
    folder = f"results/{wildcards.network}/{wildcards.search}{wildcards.criterion}"
    return source_state(folder, wildcards.level, LEVELS)


def deepest_trajectory(wildcards):
    """Tables hold widths narrower than the pruned ones too: this one knows what their channels are worth."""
    folder = f"results/{wildcards.network}/{wildcards.search}fisher"
    return f"{folder}/{reach_level(config, wildcards.network)}.csv"


def pruned_baseline(wildcards):
    """The pruned network that gives a baseline its widths."""
    folder = f"results/{wildcards.network}/{wildcards.search}"
    return pruned_baseline_path(config, folder, wildcards.level, wildcards.method)


def baseline_candidate_files(wildcards):
    """Every student file of (network, search, level, method); known once the widths are chosen."""
    chosen = checkpoints.baseline_widths.get(**wildcards).output[0]
    found = baseline_students(config, origin(wildcards), wildcards.method, chosen)
    return student_files(found, wildcards.form)
