# What the rules need that read networks and teachers. No rules.
from hakd.study.candidates import teacher_path
from hakd.study.doors import files_of, folders_of, imported_path, is_imported, is_pretrained

FOLDERS = folders_of(workflow.configfiles)
IMPORTED = [name for name in config["networks"] if is_imported(config, name)]


def network_files(wildcards):
    """The user's own files that a network is imported from."""
    return files_of(config["networks"][wildcards.network], FOLDERS)


def module_folders(wildcards, input):
    """Where modules are looked for. Not tracked, for it asks for `input` too: the files that were found are."""
    return FOLDERS


def lowest_level(wildcards, input):
    """What a network must be able to reach, with `prune.groups` and `prune.count`. Not tracked: pruning checks it too."""
    return {"level": min(config["run"]["levels"]), **settings(config, "prune")}


def imported_network(wildcards):
    """The file of an imported network; none of a family."""
    return [imported_path(wildcards.network)] if wildcards.network in IMPORTED else []


def teacher_lr(wildcards):
    """The largest learning rate of a teacher that starts from trained weights; None of any other."""
    return settings(config, "students/tuned_lr") if is_pretrained(config, wildcards.network) else None


def teacher_of(wildcards):
    """The teacher of a seed."""
    return teacher_path(config, wildcards.network, int(wildcards.seed))
