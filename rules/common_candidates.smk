# What the rules need that make or list candidates. No rules.
from hakd.records.arch import read_architecture
from hakd.study.branches import candidate_lists
from hakd.study.budgets import budgets_of
from hakd.study.candidates import (
    Origin,
    baselines,
    choices,
    expected_names,
    student_files,
    students,
)


def search_seeds(wildcards):
    """`run.search_seeds`, a list in ascending order."""
    wanted = settings(config, "run/search_seeds")
    return sorted(wanted) if isinstance(wanted, list) else wanted


def origin(wildcards):
    """Network, level and search of candidates."""
    return Origin(wildcards.network, float(wildcards.level), search_of(config, wildcards.search))


def budgets(wildcards):
    """The latency budgets that methods choose for on tables."""
    return canonical(budgets_of(config))


def candidate_files(wildcards):
    """Every student file of (network, search, level, device); known once the widths are chosen."""
    chosen = checkpoints.snap.get(**wildcards).output[0]
    race = [checkpoints.race.get(rung=RUNGS, **wildcards).output[0]] if RACES else []
    widths = f"results/{wildcards.network}/{wildcards.search}widths/{wildcards.level}.json"
    archs = choices(chosen, widths, race)
    return student_files(students(config, origin(wildcards), wildcards.device, archs), wildcards.form)


def baseline_files(wildcards):
    """Teachers and compressed networks of a network: chosen for no device, at no level."""
    return student_files(baselines(config, wildcards.network), wildcards.form)


def loss_settings(wildcards):
    """The settings that a loss depends on."""
    return settings_of_loss(wildcards.loss)


def largest_lr(wildcards):
    """The largest learning rate of a student that a pruning takes part in: inherited weights have their own."""
    return settings(config, "students/tuned_lr" if wildcards.recipe == "tuned" else "students/recipe/lr")


def student_widths(wildcards):
    """Widths of a student, by its content hash: immutable, so a re-measured board retrains nothing."""
    return dict(read_architecture(f"results/architectures/{wildcards.arch}.json").widths)


def device_candidates(wildcards):
    """The lists of all candidates that a device times."""
    return candidate_lists(config, wildcards.device)


def lists_of_devices(wildcards):
    """By device, the lists of all candidates that it times."""
    return {device: sorted(candidate_lists(config, device)) for device in sorted(DEVICES)}


def all_candidates(wildcards):
    """The lists of all candidates that any device times."""
    return sorted({path for paths in lists_of_devices(wildcards).values() for path in paths})


def expected_candidates(wildcards):
    """By device, the names of the candidates that the configuration asks for."""
    return {device: expected_names(config, device) for device in sorted(DEVICES)}
