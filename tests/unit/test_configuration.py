"""The configuration, the list of candidates, code digests, and the latency table's way back to curves."""

import copy
import json

import jsonschema
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hakd.boards import Device
from hakd.choosing.device_free import choose_device_free, copycat
from hakd.networks.families import build_graph, full_architecture, full_widths
from hakd.records.arch import Architecture, architecture_from, read_architecture, write_architecture
from hakd.records.code import code_digest
from hakd.records.columns import RECIPES
from hakd.records.errors import HakdError
from hakd.records.files import digest
from hakd.staircase.curve_rows import curves_from_table
from hakd.study import schema_docs
from hakd.study.candidates import baselines, by_tables, students
from hakd.study.configuration import canonical, check_study, config_digest, reach_level, settings
from hakd.study.files import read_configuration
from hakd.study.networks import spec_of
from hakd.study.schema import checked_study, study_schema
from hakd.sweeping.parts import engine_graph, neighbours
from hakd.sweeping.timing import device_from, tile_points
from tests.unit.builders import SPECS, narrowed
from tests.unit.studies import CONFIG, origin


def test_every_key_of_the_schema_is_described_and_documented():
    schema = study_schema()
    keys = list(schema_docs.rows(schema))
    assert all(text for *_, text in keys)
    readme = schema_docs.README.read_text()
    assert schema_docs.with_sections(readme) == readme  # else: python -m hakd.study.schema_docs


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("run", "devices"), ["pi4"], "unknown device 'pi4'"),
        (("run", "networks"), ["resnet"], "unknown network 'resnet'"),
        (("run", "levels"), [0.5, 0.50], "duplicate value"),
        (("data", "name"), "mnist", "unknown data set 'mnist'"),
        (("networks", "n"), {"family": "densenet", "depth": 23}, "6 n \\+ 4"),
        (("devices", "A"), {}, "differ in case only"),
    ],
)
def test_what_the_schema_lets_pass_is_refused(path, value, words):
    config = copy.deepcopy(CONFIG)
    config[path[0]][path[1]] = value
    with pytest.raises(HakdError, match=words):
        check_study(config)


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        ({"like": "round16"}, True),
        ({"latency_ms": 5.0}, True),
        ({"speedup": 2}, True),
        ({}, False),
        ({"latency_ms": 5.0, "speedup": 2}, False),
        ({"like": "joint"}, False),
        ({"speedup": 0.5}, False),
        ({"latency_ms": 0}, False),
    ],
)
def test_a_budget_is_one_of_three(root, budget, fits):
    schema = study_schema()
    config = yaml.safe_load((root / "config" / "config.yaml").read_text())
    config["choosing"] = {"budgets": [budget]}
    assert jsonschema.Draft202012Validator(schema).is_valid(config) is fits


def test_pruning_goes_on_for_narrower_widths_as_far_as_it_can():
    study = checked_study(read_configuration())
    assert reach_level(study, "mobilenet") == "0.2"
    study["choosing"]["reach"] = 1
    assert reach_level(study, "mobilenet") == "0.5"
    study["choosing"]["reach"] = 1e-9
    graph = build_graph(Architecture(spec := spec_of(study, "densenet"), dict.fromkeys(full_widths(spec), 1)))
    left = graph.macs() / build_graph(full_architecture(spec)).macs()
    assert left < float(reach_level(study, "densenet")) < 1.5 * left


def test_methods_that_time_tables_come_in_one_order_and_belong_to_their_device():
    config = copy.deepcopy(CONFIG)
    assert by_tables(config) == []
    config["run"]["methods"] = ["race", "latency_greedy", "hakd", "joint"]
    assert by_tables(config) == ["joint", "latency_greedy", "race"]
    config["students"]["recipes"] |= {"joint": ["distilled"], "latency_greedy": ["distilled"]}
    found = students(
        config, origin(0.5), "a", {"joint": "0" * 12, "latency_greedy": "1" * 12, "knapsack": "2" * 12}
    )
    assert {(one.method, one.target_device) for one in found} == {("joint", "a"), ("latency_greedy", "a")}


@given(
    st.recursive(
        st.integers() | st.booleans() | st.text(), lambda x: st.dictionaries(st.text(), x) | st.lists(x)
    )
)
def test_canonical_settings_keep_their_meaning(value):
    assert digest(canonical(value)) == digest(value)


def test_settings_do_not_depend_on_key_order_or_number_types():
    other = {key: CONFIG[key] for key in reversed(list(CONFIG))}
    other = {**other, "devices": {"b": {"threads": 2}, "a": {"threads": 1.0}}}
    assert config_digest(other) == config_digest(CONFIG)
    assert repr(settings(other, "devices")) == repr(settings(CONFIG, "devices"))
    assert settings(CONFIG, "devices/b/threads") == 2


def test_a_pretrained_teacher_has_a_recipe_that_the_summary_takes():
    config = copy.deepcopy(CONFIG)
    config["networks"]["n"] = {"module": "nets:net", "weights": "own"}
    (recipe,) = {one.recipe for one in baselines(config, "n") if one.method == "teacher"}
    assert recipe == "pretrained" and recipe in RECIPES


def test_candidates_have_their_own_names_and_shared_files():
    found = students(CONFIG, origin(0.5), "a", {"hakd": "0" * 12, "fisher": "1" * 12})
    assert {c.method for c in found} == {"hakd"}  # fisher is not among the study's methods
    assert len({c.name for c in found}) == len(found) == 10
    assert {c.target_device for c in found} == {"a"}
    tuned = next(c for c in found if (c.recipe, c.loss, c.seed) == ("tuned", "at", 3))
    assert tuned.files == (
        "results/n/students/000000000000/tuned-fisher-0.5-at-3.safetensors",
        "results/n/students/000000000000/tuned-fisher-0.5-at-3.onnx",
    )
    assert [c.name for c in baselines(CONFIG, "n")] == [
        "n/1/teacher/any/scratch/ce/0",
        "n/1/teacher/any/scratch/ce/3",
    ]


def test_code_digest_sees_code_and_what_it_imports(tmp_path, monkeypatch):
    import hakd.records.code as module

    package = tmp_path / "hakd"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text('"""Doc."""\nfrom hakd import b\n\ndef f():\n    return b.x\n')
    (package / "b.py").write_text("x = 1\n")
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)

    def now(**options):
        module._read.cache_clear()
        return code_digest(["hakd.a"], **options)

    script = tmp_path / "rule.py"
    script.write_text('"""Words."""\nfrom hakd import b\n\nb.x\n')
    of_script = module.script_digest(str(script))
    script.write_text("from hakd import b  # why\n\n\nb.x\n")
    assert module.script_digest(str(script)) == of_script
    script.write_text("from hakd import b\n\nprint(b.x)\n")
    assert module.script_digest(str(script)) != of_script
    first, without = now(), now(skip=["hakd.b"])
    (package / "a.py").write_text(
        "'''Other words.'''\nfrom hakd import b  # why\n\n\ndef f():\n    '''Doc.'''\n    return b.x\n"
    )
    assert now() == first
    (package / "b.py").write_text("x = 2\n")
    assert now() != first and now(skip=["hakd.b"]) == without
    module._read.cache_clear()


def test_digests_of_known_modules_are_kept_and_a_damaged_file_costs_nothing_but_time(tmp_path, monkeypatch):
    import hakd.records.code as module

    def now():
        module._read.cache_clear()
        module._kept.cache_clear()
        return code_digest(["hakd.records.text"])

    try:
        monkeypatch.setattr(module, "KEPT", tmp_path / "new" / "digests.json")
        monkeypatch.setattr(module, "_NEW", {})
        first = now()
        module._keep()
        with monkeypatch.context() as patch:
            patch.setattr(module, "_digest_of_tree", None)  # would fail
            assert now() == first
        module.KEPT.write_text("{")
        assert now() == first
        monkeypatch.setattr(module, "KEPT", tmp_path / "new" / "digests.json" / "below a file")
        module._keep()
    finally:
        module._kept.cache_clear()


def test_folder_digest_sees_names_and_bytes_at_any_depth(tmp_path, monkeypatch):
    import hakd.records.code as module

    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    page, library = tmp_path / "web" / "page.js", tmp_path / "web" / "vendor" / "library.js"
    library.parent.mkdir(parents=True)
    page.write_text("1")
    library.write_text("2")
    first = module.folder_digest("web")
    page.touch()
    assert module.folder_digest("web") == first
    library.write_text("3")
    assert module.folder_digest("web") != first
    library.write_text("2")
    library.rename(library.with_name("other.js"))
    assert module.folder_digest("web") != first


BLOCKS = """
if 1:
    import hakd.a
else:
    import hakd.b
try:
    import hakd.c
except OSError:
    import hakd.d
else:
    import hakd.e
finally:
    import hakd.f
for _ in ():
    with open(""):
        import hakd.g
while 0:
    match 1:
        case 2:
            import hakd.h
class A:
    async def f(self):
        "Words."
        from hakd import i
"""


def test_code_digest_finds_imports_in_every_kind_of_block(tmp_path, monkeypatch):
    import hakd.records.code as module

    (tmp_path / "hakd").mkdir()
    for name in "abcdefghi":
        (tmp_path / "hakd" / f"{name}.py").touch()
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    digest, found = module._digest(BLOCKS)
    assert found == tuple(f"hakd.{name}" for name in "abcdefghi")
    assert module._digest(BLOCKS.replace("Words", "Other words"))[0] == digest


def test_architecture_files_are_written_once_and_checked(tmp_path):
    spec = SPECS["mobilenet"]()
    architecture = Architecture(spec, narrowed(spec))
    path = tmp_path / f"{architecture.arch}.json"
    write_architecture(path, architecture)
    before = path.stat().st_mtime_ns
    write_architecture(path, architecture)
    assert path.stat().st_mtime_ns == before
    assert read_architecture(path) == architecture
    content = json.loads(path.read_text())
    content["widths"]["stem"] += 1
    with pytest.raises(HakdError, match="arch"):
        architecture_from(content, path)
    with pytest.raises(HakdError, match="not an architecture"):
        architecture_from({"arch": "x"}, path)


@pytest.mark.parametrize("name", SPECS)
def test_device_free_widths_keep_their_budget(name):
    spec = SPECS[name](32)
    full = full_widths(spec)
    macs = build_graph(Architecture(spec, full)).macs()
    pruned = Architecture(spec, {group: max(1, width * 3 // 5) for group, width in full.items()})
    found = choose_device_free(pruned, 0.7, 0)
    assert found["fisher"].widths == pruned.widths
    assert all(w % 16 == 0 or w == full[g] for g, w in found["round16"].widths.items())
    for method in ("uniform", "random"):
        assert build_graph(found[method]).macs() <= 0.7 * macs
    assert choose_device_free(pruned, 0.7, 0)["random"].widths == found["random"].widths
    params = build_graph(Architecture(spec, full)).params()
    by_params = choose_device_free(pruned, 0.7, 0, count="params")
    for chosen in (by_params["uniform"], by_params["random"], copycat(pruned, 0.7, count="params")):
        assert 0.6 * params < build_graph(chosen).params() <= 0.7 * params
    narrow = copycat(pruned, 0.2)
    assert all(1 <= narrow.widths[group] <= pruned.widths[group] for group in full)
    assert copycat(pruned, 1).widths == full


def test_a_device_of_the_study_splits_into_board_and_measuring():
    device, measuring = device_from("a", {"threads": 2, "rounds": 7, "benchmark_processes": 6})
    assert (device.threads, measuring.rounds, measuring.one_process().processes) == (2, 7, 1)
    assert measuring.end_to_end().processes == 6
    with pytest.raises(HakdError, match="unknown key 'round'"):
        device_from("a", {"round": 7})


@pytest.mark.parametrize("name", SPECS)
def test_neighbours_name_every_other_width_of_a_block(name):
    spec = SPECS[name]()
    widths = full_widths(spec)
    graph = engine_graph(Architecture(spec, widths))
    for group in widths:
        around = neighbours(graph.block(group), group)
        assert group not in around and around.items() <= widths.items()
        key = graph.block(group).shape_key()
        for other in set(widths) - {group}:
            changed = engine_graph(Architecture(spec, widths | {other: widths[other] - 1}))
            assert (changed.block(group).shape_key() != key) == (other in around)


def test_a_points_reference_is_what_its_model_computes():
    from hakd.evaluation.export import session

    spec = SPECS["densenet"]()
    for part in tile_points(Architecture(spec, narrowed(spec)), Device("local", batch=2)).values():
        images = np.random.default_rng(0).standard_normal(part.input_shape).astype(np.float32)
        (found,) = session(part.model()).run(None, {"input": images})
        np.testing.assert_allclose(found, part.reference(images), atol=1e-4, rtol=1e-4)


def test_curves_come_back_from_the_table():
    row = {
        "network": "n",
        "level": 0.5,
        "kind": "block",
        "group": "g",
        "shape": "s",
        "neighbour_widths": '{"h": 3}',
    }
    row |= {
        "latency_low_ms": np.nan,
        "latency_high_ms": np.nan,
        "min_ms": 0.1,
        "residual_p95": 0.01,
        "trusted": True,
    }
    rows = [
        row | {"width": w, "latency_ms": ms, "reason": "r"} for w, ms in ((16, 0.3), (8, 0.2), (12, 0.25))
    ]
    curve = curves_from_table(pd.DataFrame(rows), 0.5)["g"]
    assert (curve.widths, curve.latency_ms, curve.low[0]) == ((8, 12, 16), (0.2, 0.25, 0.3), None)
    assert curve.neighbour_widths == {"h": 3}
    with pytest.raises(HakdError, match="no curves at level"):
        curves_from_table(pd.DataFrame(rows), 0.25)
