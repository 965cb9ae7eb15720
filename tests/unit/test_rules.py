"""The rules of the workflow: what Snakemake's own linter does not see."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.name: path.read_text() for path in sorted((ROOT / "rules").glob("*.smk"))}
RULES = {
    block.split(":")[0].split()[1]: block
    for text in FILES.values()
    for block in re.split(r"(?m)^(?=(?:rule|checkpoint) \w+:)", text)[1:]
}


def test_the_snakefile_includes_every_file_of_rules():
    included = re.findall(r'^include: "rules/(.+)"$', (ROOT / "Snakefile").read_text(), re.MULTILINE)
    assert sorted(included) == list(FILES)


def test_rules_that_drive_a_board_or_list_candidates_are_local():
    driving = {name for name, block in RULES.items() if "board_tokens()" in block}
    local = {
        name for name, block in RULES.items() if re.search(r"^    localrule: True$", block, re.MULTILINE)
    }
    assert driving == {"sweep", "snap", "fleet", "benchmark"}
    listing = {"candidates", "baseline_candidates", "baselines", "fleet_candidates", "race"}
    assert local == driving | listing | {"available_pareto", "available"}


def test_the_profile_for_slurm_names_rules_and_leaves_none_that_trains_to_the_defaults():
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "profile.yaml").read_text())
    local = {name for name, block in RULES.items() if "    localrule: True\n" in block}
    assert set(profile["groups"]) | set(profile["set-resources"]) <= set(RULES) - local
    training = {name for name, block in RULES.items() if "device=training_device" in block}
    assert {name for name, block in RULES.items() if "gpu=training_gpus" in block} == training
    assert all(profile["set-resources"][name]["runtime"] == 480 for name in training)
    for name, group in profile["groups"].items():  # a group of one device must not wait for another
        assert ("{device}" in group) == (f'"results/logs/{name}/{{device}}.log"' in RULES[name])


def test_a_rule_has_the_name_of_its_log_folder_and_a_script_that_is_there():
    scripts = {path.stem for path in (ROOT / "workflow" / "scripts").glob("*.py")}
    used = set()
    for name, block in RULES.items():
        assert f'"results/logs/{name}/' in block
        script = re.search(r'"\.\./workflow/scripts/(\w+)\.py"', block)
        if script:
            assert script[1] in (name, name.removeprefix("device_"), name.removesuffix("_pareto"))
            assert f'code("{script[1]}"' in block  # the digest of another script would not rerun it
            used.add(script[1])
    assert used == scripts


def test_rules_hold_no_code():
    assert [name for name, text in FILES.items() if re.search(r"^ +run:", text, re.MULTILINE)] == []
    assert [name for name, text in FILES.items() if "lambda" in text] == ["common_boards.smk"]
    shared = [name for name in FILES if name.startswith("common")]
    assert not any(re.search(r"^(rule|checkpoint) ", FILES[name], re.MULTILINE) for name in shared)
    assert {name: text.count("\n") for name, text in FILES.items() if text.count("\n") >= 100} == {}


def test_every_rule_says_in_words_what_it_does():
    blocks = RULES | {"all": (ROOT / "Snakefile").read_text().partition("rule all:")[2]}
    messages = {
        name: re.search(r'^    message:\n        "([A-Z].+[^.])"$', text, re.MULTILINE)
        for name, text in blocks.items()
    }
    assert [name for name, found in messages.items() if found is None] == []


def test_the_picture_of_the_workflow_names_rules():
    picture = (ROOT / "docs" / "images" / "workflow.svg").read_text()
    names = re.findall(r'class="rule"[^>]*>([^<]+)<', picture)
    assert names and set(", ".join(names).split(", ")) <= set(RULES)
