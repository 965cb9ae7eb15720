"""A study whose device has several numbers of threads: what Snakemake plans."""

from collections import Counter

from tests.workflow.study import Study


def test_each_number_of_threads_has_its_branch_and_all_have_the_board_s_one_token(tmp_path):
    study = Study(tmp_path)
    study.config["devices"]["pi4"] = {"transport": "ssh", "host": "pi4.lab", "threads": [1, 2], "rounds": 5}
    study.config["run"] |= {"devices": ["pi4"], "methods": ["teacher", "fisher", "hakd"]}
    study.config["students"]["recipes"] = {"fisher": ["tuned/ce"], "hakd": ["distilled"]}
    study.config["analysis"]["contrasts"] = []
    plan = study.plan()
    timed = [job for job in plan if job.rule in ("sweep", "snap", "benchmark")]
    assert Counter((job.rule, job.wildcards["device"]) for job in timed) == {
        (rule, device): 1 for rule in ("sweep", "snap", "benchmark") for device in ("pi4-t1", "pi4-t2")
    }
    assert {key for job in timed for key in job.resources if key.startswith("board_")} == {"board_pi4_t1"}
    (stack,) = [job for job in plan if job.rule == "stack"]
    assert {path.split("/")[2] for path in stack.inputs if "/devices/" in path} == {"pi4-t1", "pi4-t2"}

    study.config["devices"]["pi4-t2"] = {}
    refused = study.snakemake("-n")
    assert refused.returncode == 1 and "devices.pi4.threads: stands for a device 'pi4-t2'" in refused.stdout
    assert "Traceback" not in refused.stdout
