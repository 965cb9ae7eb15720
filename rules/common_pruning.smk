# What the rules need that read prunings. No rules.
from hakd.study.candidates import COPYCAT, PRUNINGS, baseline_student_paths, pruned_baseline_path
from hakd.study.levels import source_state

# Tables hold widths narrower than the pruned ones too: this one knows what their channels are worth.
LOWEST_TRAJECTORY = f"results/{{network}}/fisher/{LEVELS[0]}.csv"


wildcard_constraints:
    criterion=one_of(["fisher", *PRUNINGS]),
    method=one_of([*PRUNINGS, COPYCAT]),


def higher_state(wildcards):
    """The kept state that a level is pruned from; none for the one that starts from the teacher."""
    return source_state(f"results/{wildcards.network}/{wildcards.criterion}", wildcards.level, LEVELS)


def pruned_baseline(wildcards):
    """The pruned network that gives a baseline its widths."""
    return pruned_baseline_path(config, wildcards.network, wildcards.level, wildcards.method)


def baseline_candidate_files(wildcards):
    """Every student file of (network, level, method); known once the widths are chosen."""
    chosen = checkpoints.baseline_widths.get(**wildcards).output[0]
    return baseline_student_paths(config, wildcards.network, wildcards.level, wildcards.method, chosen)
