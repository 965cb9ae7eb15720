"""The whole study, for real: every rule runs, the results keep their contracts, and changes rerun what they touch."""

import copy
import json
import os
import re
import signal

import numpy as np
import onnxruntime
import pandas as pd
import psutil
import pypdfium2
import pytest

from hakd.deep_compression.store import read
from hakd.records.checkpoint import read_checkpoint
from hakd.records.tables import read_table
from hakd.study.candidates import FULL_WIDTHS, SNAPPED
from tests.boards.rigs.needs import wait_until
from tests.boards.skipping import system_part
from tests.unit.browser import chromium
from tests.workflow.study import Study, executed

DEVICE_RULES = {
    "sweep",
    "snap",
    "race",
    "race_table",
    "candidates",
    "benchmark",
    "audit",
    "score",
    "device_summary",
    "device_pareto",
    "device_staircases",
    "verification",
    "certificates",
    "hazards",
    "summary",
    "contrasts",
    "checks",
    "pareto",
    "pareto_page",
    "staircases",
    "widths_plot",
    "seeds",
    "stack",
}


@pytest.fixture(scope="session")
def summary(finished) -> pd.DataFrame:
    return read_table(finished.directory / "results" / "summary.parquet", "summary")[0]


def changed(study, **keys):
    """The study's configuration with dotted keys replaced, e.g. run__seeds=[0, 1]."""
    config = copy.deepcopy(study.config)
    for path, value in keys.items():
        *parents, last = path.split("__")
        place = config
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return config


def test_every_rule_ran_and_a_second_run_has_nothing_to_do(finished):
    rules = {
        "data",
        "teacher",
        "prune",
        "widths",
        "baseline_widths",
        "baseline_candidates",
        "sweep",
        "snap",
        "student",
        "tuned",
        "deep_compression",
        "weight_pruning",
        "ternary",
        "export",
    }
    assert rules | {"decode", "baselines"} | DEVICE_RULES <= set(finished.jobs)
    assert finished.planned() == {}
    assert "Nothing to be done" in finished.snakemake("results/pareto.pdf").stdout


def test_the_summary_holds_every_method_and_what_files_say(finished, summary):
    results = finished.directory
    assert set(summary["method"]) == set(finished.config["run"]["methods"])
    fisher = summary[summary["method"] == "fisher"]
    assert set(zip(fisher["recipe"], fisher["loss"], strict=True)) == {
        ("tuned", "ce"), ("tuned", "logits"), ("scratch", "ce"), ("scratch_b", "ce"), ("distilled", "logits"),
        ("distilled", "at"), ("tuned_coded", "ce"), ("tuned_ternary", "ce"),
    }  # fmt: skip
    assert (summary["latency_low_ms"] <= summary["latency_ms"]).all()
    assert summary["memory_bytes"].gt(summary["weight_bytes"]).all() and summary["weight_bytes"].gt(0).all()
    assert summary["predicted_ms"].gt(0).all()
    assert summary["target_device"].isna().eq(~summary["method"].isin(SNAPPED)).all()
    predictions, _ = read_table(
        results / "results" / "devices" / "local" / "predictions.parquet", "predictions"
    )
    right = (
        (predictions["label"] == predictions["prediction"])
        .groupby(predictions["candidate"], observed=True)
        .mean()
    )
    for row in summary.itertuples():
        assert row.accuracy == pytest.approx(right[row.candidate])
        compressed = row.checkpoint_path.endswith(".hakdc")
        assert compressed == (row.recipe in ("compressed", "tuned_coded", "tuned_ternary"))
        path = results / (row.checkpoint_path if compressed else row.onnx_path)
        assert row.size_bytes == path.stat().st_size
    budget = summary[summary["method"].isin(["uniform", "random", "fisher", "copycat", "random_order"])]
    teacher = summary[summary["method"] == "teacher"].iloc[0]
    assert (budget["macs"] <= 0.8 * teacher["macs"]).all()
    assert (summary["train_images"] > 0).all()
    students = summary[~summary["method"].isin(FULL_WIDTHS)]
    usual = ~students["recipe"].isin(["scratch_b", "tuned_coded", "tuned_ternary"])
    (same,) = students.loc[usual, "train_images"].unique()  # for every other recipe
    (coded,) = students[students["recipe"] == "tuned_coded"].itertuples()
    assert coded.train_images == 2 * same  # an epoch each, of the student and of the centroids
    (tuned,) = students.query("method == 'fisher' and recipe == 'tuned' and loss == 'ce'").itertuples()
    assert coded.arch == tuned.arch and coded.size_bytes < tuned.size_bytes / 2
    (ternary,) = students[students["recipe"] == "tuned_ternary"].itertuples()
    assert ternary.arch == tuned.arch and ternary.train_images == 2 * same
    assert ternary.nonzero_params < tuned.nonzero_params and ternary.size_bytes < tuned.size_bytes / 2
    pruned = read_checkpoint(results / "results" / "tiny" / "fisher" / "0.8.safetensors").facts[
        "prune_images"
    ]
    (more,) = students.loc[students["recipe"] == "scratch_b", "train_images"]
    assert 0 < pruned <= more - same <= pruned + 64


def test_the_audit_says_how_good_the_summarys_predictions_are(finished, summary):
    folder = finished.directory / "results" / "devices" / "local"
    audit = json.loads((folder / "benchmark.json").read_text())["audit"]
    frame = pd.read_csv(folder / "audit.csv")
    assert set(frame["arch"]) == set(summary["arch"]) and len(frame) == len(audit["archs"])
    own = summary.groupby("arch")["predicted_ms"].first()
    assert frame.set_index("arch")["predicted_ms"].to_dict() == pytest.approx(own.to_dict())
    assert set("; ".join(frame["candidates"]).split("; ")) == set(summary["candidate"])
    # A tile alone pays for a call of the engine, which the whole network pays once.
    assert 0 < audit["overhead"]["median_ms"] < frame["sum_ms"].min() and len(audit["paces"]) == 1
    assert audit["quality"]["predicted_ms"]["all"]["networks"] == len(frame)
    (page,) = pypdfium2.PdfDocument(folder / "audit.pdf")
    assert "latency on local" in page.get_textpage().get_text_range()


def test_exported_networks_are_their_checkpoints(finished, summary):
    for row in summary.drop_duplicates("onnx_path").itertuples():
        if row.checkpoint_path.endswith(".hakdc"):
            weights, _ = read(finished.directory / row.checkpoint_path)
            facts = json.loads((finished.directory / row.checkpoint_path).with_suffix(".json").read_text())[
                "facts"
            ]
            left = sum(np.count_nonzero(w) for name, w in weights.items() if w.ndim > 1)
            if (
                row.recipe != "tuned_ternary" and row.method != "ternary"
            ):  # these have zeros without being pruned
                pruned = row.method in ("deep_compression", "weight_pruning")
                assert (left <= 0.52 * row.params) == pruned
        else:
            facts = read_checkpoint(finished.directory / row.checkpoint_path).facts
        from hakd.records.probe import probe_images

        session = onnxruntime.InferenceSession(
            finished.directory / row.onnx_path, providers=["CPUExecutionProvider"]
        )
        (logits,) = session.run(None, {"input": probe_images((1, 8, 8))})
        np.testing.assert_allclose(logits, facts["probe_logits"], atol=1e-3, rtol=1e-3)


def test_choices_say_why(finished):
    path = finished.directory / "results" / "tiny" / "snap" / "0.8" / "local.json"
    methods = json.loads(path.read_text())["methods"]
    for method, entry in methods.items():
        assert {c["group"] for c in entry["choices"]} == set(entry["widths"])
        for choice in entry["choices"]:
            assert choice["reason"] and choice["width_to"] == entry["widths"][choice["group"]]
            assert 1 <= choice["width_to"] <= choice["full_width"]
            if method == "joint":  # by tables of tiles: also narrower, and trusted or not
                continue
            assert choice["width_from"] <= choice["width_to"]
            if choice["tolerance"] is None:  # nothing is known of the noise
                assert choice["width_to"] == choice["width_from"]
        assert entry["repair"]["ratio_high"] <= entry["repair"]["limit"]
    said = methods["joint"]["repair"]
    assert said["budget"] == "the latency of fisher" and said["budget_ms"] > 0 and said["points"] > 6


def test_what_was_chosen_is_certified_and_hazards_are_told(finished):
    results = finished.directory / "results"
    snap = json.loads((results / "tiny" / "snap" / "0.8" / "local.json").read_text())
    table, _ = read_table(results / "devices" / "local" / "certificates.csv", "certificates")
    assert set(table["method"]) == {*snap["methods"], "race"} and set(table["network"]) == {"tiny"}
    for method, entry in snap["methods"].items():
        own = table[table["method"] == method]
        moved = [c["group"] for c in entry["choices"] if c["width_to"] != c["width_from"]]
        assert list(own.loc[own["scope"] == "width", "group"]) == moved
        assert list(own["words"]) == [one["words"] for one in entry["certificates"]]
        assert (own["scope"] == "network").sum() == 1 and own["device"].eq("local").all()
    assert isinstance(snap["inversions"], list)
    hazards, _ = read_table(results / "devices" / "local" / "hazards.csv", "hazards")
    latency, _ = read_table(results / "tiny" / "latency" / "local.parquet", "latency")
    blocks = latency[latency["kind"] == "block"]
    assert set(hazards["group"]) == set(blocks["group"]) and (hazards["timed"] <= hazards["widths"]).all()
    assert hazards["slowdown"].notna().eq(hazards["timed"] > 0).all()


def test_plots_have_their_pages(finished):
    for name in ("pareto.pdf", "staircases.pdf", "widths.pdf", "contrasts.pdf"):
        document = pypdfium2.PdfDocument(finished.directory / "results" / name)
        text = "".join(page.get_textpage().get_text_range() for page in document)
        assert "tiny" in text and "local" in text


def test_declared_contrasts_are_tested_and_every_candidate_has_a_place_on_the_front(finished, summary):
    results = finished.directory / "results"
    (mean, at, within) = pd.read_csv(results / "contrasts.csv").to_dict("records")
    assert (mean["contrast"], mean["scope"], at["scope"]) == ("inherited weights", "mean", "at")
    tuned, scratch = (
        summary.query(f"method == 'fisher' and recipe == '{recipe}' and loss == 'ce'")["accuracy"].item()
        for recipe in ("tuned", "scratch")
    )
    assert mean["difference"] == pytest.approx(tuned - scratch)
    assert mean["verdict"] == "undecided" and "one seed" in mean["reason"]
    assert (within["at"], within["scope"]) == ("size", "within") and "a is smaller throughout" in within[
        "reason"
    ]
    places = pd.read_csv(results / "fronts.csv")
    assert len(places) == len(summary) and places["probability"].between(0, 1).all()


def test_the_results_are_checked(finished):
    checks = pd.read_csv(finished.directory / "results" / "checks.csv", keep_default_na=False).set_index(
        "name"
    )
    assert checks["passed"].all() and (checks["detail"] == "").all(), checks
    wanted = {"accuracies", "candidates", "fronts", "predictions", "sizes", "latencies", "architectures"}
    assert (checks.loc[list(wanted), "checked"] > 5).all()
    # A study with more than one device has them too; no board is needed, whatever the number.
    (job,) = [job for job in finished.plan("-R", "checks") if job.rule == "checks"]
    assert not [name for name in job.resources if name.startswith("board_")]


def test_results_that_do_not_agree_end_the_study_with_a_line_each(copied):
    results = copied.directory / "results"
    row = read_table(results / "summary.parquet", "summary")[0].query("method == 'joint'").iloc[0]
    onnx, times = copied.directory / row.onnx_path, (copied.directory / row.onnx_path).stat()
    onnx.write_bytes(onnx.read_bytes() + b"!")
    os.utime(onnx, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a disk damages it: nothing runs again
    (results / "architectures" / "0123456789ab.json").write_text("{")
    done = copied.snakemake("results/checks.csv", "-R", "checks")
    assert done.returncode != 0 and not (results / "checks.csv").exists()
    assert executed(done.stdout) == {}
    lines = [line for line in done.stdout.splitlines() if line.startswith("warning: check: ")]
    assert (
        f"{row.onnx_path}: " in lines[0] and f"has {row.size_bytes + 1} bytes, the summary says" in lines[0]
    )
    assert "results/architectures/0123456789ab.json: " in lines[-1] and lines[-1].endswith("Delete it")
    words = done.stdout.split("These jobs failed:")[1]
    assert "checks.csv: 2 of 8 checks failed: sizes (" in words
    assert f"Their logs, in {results}/logs: checks/checks.log" in words


def test_a_run_says_how_far_it_is(finished):
    lines = re.findall(
        r"^Study: (\d+) of (\d+)( or more)? jobs, \d+ \w+ so far(.*)$", finished.output, re.MULTILINE
    )
    assert lines and all(int(done) < int(total) for done, total, *_ in lines)
    assert any(re.match(r", (about )?[\d.]+ \w+ (or more )?left \(", rest) for *_, rest in lines)


def test_the_last_words_say_where_the_results_are_and_where_the_time_went(finished):
    words = finished.output.split("(100%) done")[-1]
    for name in ("pareto.pdf", "staircases.pdf", "widths.pdf", "summary.csv"):
        assert f"  {finished.directory}/results/{name}: " in words
    assert re.search(r"^Time by rule \(number of jobs\): .*\bsweep \d+ \w+ \(1\)", words, re.MULTILINE), words


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    done = finished.snakemake("--report", str(path))
    assert done.returncode == 0, done.stdout[-2000:]
    return path


def test_the_report_has_every_result_where_a_reader_looks_for_it(report):
    text = report.read_text()
    categories, results = (
        json.JSONDecoder().raw_decode(re.split(rf'\b{name} = (?=\{{")', text)[1])[0]
        for name in ("categories", "results")
    )

    def label(path: str) -> str:
        return results[path]["labels"]["result"]

    expected = {
        ("1 Start", "All devices"): ["pareto.html", "pareto.pdf", "summary.csv", "stack.pdf"],
        ("2 Why", "All devices"): ["staircases.pdf", "widths.pdf", "speedup.csv"],
        ("2 Why", "local"): ["hazards.csv", "race.csv"],
        ("3 How sure", "All devices"): [
            "contrasts.pdf",
            "contrasts.csv",
            "fronts.csv",
            "seeds.pdf",
            "checks.csv",
            "hypervolume.csv",
        ],
        ("3 How sure", "local"): ["certificates.csv", "verification.csv", "audit.pdf", "audit.csv"],
        ("4 Per device", "local"): ["pareto.pdf", "staircases.pdf"],
    }
    found = {
        (category, part): [os.path.basename(path) for path in sorted(paths, key=label)]
        for category, parts in categories.items()
        for part, paths in parts.items()
    }
    assert found == expected
    assert all(len(result["caption"]) > 150 for result in results.values())


def test_the_page_works_inside_the_report(report, summary):
    with system_part(), chromium() as page:
        page.open(report, "document.querySelectorAll('#app a').length > 3")
        page.ask(
            "[...document.querySelectorAll('#app a')].find((link) => link.textContent === '1 Start').click()"
        )
        page.wait("document.querySelectorAll('#app td a').length >= 3")
        page.ask("document.querySelector('#app td a').click()")
        context = page.frame()
        page.wait("document.querySelectorAll('tr.candidate').length > 0", context)
        shown = page.ask(
            "study.candidates.flatMap((row) => row.trainings.map((one) => one.candidate))", context
        )
        assert sorted(shown) == sorted(summary["candidate"])
        widths = page.ask("study.widths", context)
        assert set(widths) == set(summary["arch"]) and len({tuple(one) for one in widths.values()}) == 1
        assert [address for address in page.asked if not address.startswith(("file:", "data:"))] == []
        assert [words for words in page.said if "tailwindcss" not in words] == []


def test_only_the_score_rule_reads_the_test_split(finished):
    jobs = finished.plan("--forceall")
    readers = {job.rule for job in jobs if any("test.npz" in name for name in job.inputs)}
    assert readers == {"score"}


def test_one_value_of_one_device_reruns_that_device_alone(copied):
    quick = {
        "rounds": 3,
        "burst_ms": 0.3,
        "min_step": 1,
    }  # which jobs run is the question, not what they find
    quick = {f"devices__pair__{key}": value for key, value in quick.items()}
    both = changed(copied, run__devices=["local", "pair"], **quick)
    added = copied.run(config=both)
    assert set(added) <= DEVICE_RULES | {"student", "export", "race_lap"}, added
    assert added["sweep"] == added["benchmark"] == 1
    touched = changed(copied, run__devices=["local", "pair"], **{**quick, "devices__pair__rounds": 4})
    plan = copied.planned(config=touched)
    assert plan["sweep"] == 1 and plan["snap"] == 1 and set(plan) <= DEVICE_RULES, plan
    jobs = copied.run(config=touched)
    assert jobs["sweep"] == jobs["snap"] == jobs["benchmark"] == 1
    assert set(jobs) <= DEVICE_RULES | {"student", "export", "race_lap"}, jobs
    assert not {"teacher", "prune", "widths", "deep_compression", "data"} & set(jobs)
    assert copied.planned(config=touched) == {}


def test_an_added_level_is_pruned_alone_and_new_settings_prune_all(copied):
    folder = "results/tiny/fisher"
    files = [f"{folder}/0.75.safetensors", f"{folder}/0.7.safetensors"]
    assert copied.run(files[1], config=changed(copied, run__levels=[0.8, 0.7])) == {"prune": 1}
    assert (copied.directory / folder / "0.7.from").read_text() == "0.8\n"
    between = changed(copied, run__levels=[0.8, 0.75, 0.7])
    (job,) = copied.plan(*files, config=between)
    assert (job.rule, job.wildcards["level"]) == ("prune", "0.75")
    assert copied.planned(files[1], config=changed(copied, run__levels=[0.7])) == {}
    again = copied.plan(*files, config=changed(copied, run__levels=[0.8, 0.75, 0.7], prune__steps=2))
    assert {job.wildcards["level"] for job in again} == {"0.8", "0.75", "0.7"}


def test_a_checkpoint_of_another_network_is_refused(copied):
    teacher = copied.directory / "results" / "tiny" / "teacher" / "0.safetensors"
    teacher.write_bytes(teacher.read_bytes()[:100])
    done = copied.snakemake("results/tiny/fisher/0.8.csv")
    assert done.returncode != 0
    assert "not a readable checkpoint" in done.stdout and str(teacher.name) in done.stdout
    words = done.stdout.split("These jobs failed:")[1]  # every error once more, at the end
    assert "not a readable checkpoint" in words and str(copied.directory) in words
    assert "Traceback" not in done.stdout.split("Error in rule")[1].split("Logfile")[0]
    # Its remedy, as printed.
    remedy = re.search(r"`(-R) (\S+)` at its end", words)
    assert copied.run("results/tiny/fisher/0.8.csv", *remedy.groups()) == {"teacher": 1, "prune": 1}


def test_every_file_that_can_be_damaged_can_be_made_again(finished):
    rules = {
        "results/data/train.npz": "data",
        "results/tiny/fisher/0.8.safetensors": "prune",
        "results/tiny/widths/0.8.json": "widths",
        "results/tiny/widths/random_order/0.8.json": "baseline_widths",
        "results/tiny/latency/local.parquet": "sweep",
        "results/tiny/deep_compression/0.5-0.hakdc": "deep_compression",
        "results/tiny/teacher/0.onnx": "export",
        "results/candidates/tiny/baselines.json": "baselines",
        "results/devices/local/benchmark.json": "benchmark",
        "results/devices/local/predictions.parquet": "score",
    }
    # What an error says of them: `hakd.records.errors.make_again`.
    plan = finished.planned("--forcerun", *rules)
    assert set(rules.values()) <= set(plan)
    assert plan["export"] >= 1


def test_an_engine_interpreter_that_is_not_there_is_one_clear_error(copied):
    config = changed(copied, devices__local__python="/nowhere/python3")
    done = copied.snakemake("results/tiny/latency/local.parquet", config=config)
    assert done.returncode != 0
    assert "/nowhere/python3" in done.stdout
    assert not (copied.directory / "results" / "tiny" / "latency" / "local.parquet").exists()


def test_a_study_that_was_killed_or_interrupted_goes_on_with_the_same_command(tmp_path):
    study = Study(tmp_path)
    study.config["teacher"]["epochs"] = 40
    target = tmp_path / "results" / "tiny" / "teacher" / "0.safetensors"
    kept, file = target.with_name(target.name + ".resume"), target.relative_to(tmp_path).as_posix()

    def started() -> psutil.Process:
        """It trains, and has kept a new state."""
        before = kept.stat().st_mtime_ns if kept.exists() else 0
        process = psutil.Process(study.start(file).pid)
        wait_until(lambda: kept.exists() and kept.stat().st_mtime_ns > before, "training keeps a state", 120)
        return process

    process = started()
    (job,) = [child for child in process.children(recursive=True) if "teacher.py" in child.cmdline()[-1]]
    job.suspend()  # it would be done before the next Snakemake looks
    refused = study.snakemake(file)
    assert refused.returncode != 0 and "Directory cannot be locked" in refused.stdout
    process.kill()  # as the kernel does for want of memory: Snakemake alone
    job.resume()
    assert not psutil.wait_procs([process, job], 30)[1] and not target.exists()
    assert any((tmp_path / ".snakemake" / "locks").iterdir())
    process = started()  # its lock was nobody's any more
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    assert not target.exists() and kept.exists()
    log = (tmp_path / "results" / "logs" / "teacher" / "tiny-0.log").read_text()
    assert log.endswith("interrupted\n") and "Traceback" not in log
    study.run(file)
    epochs = pd.read_csv(target.with_suffix(".csv"))
    assert list(epochs["epoch"]) == list(range(1, 41))
    assert not kept.exists()
