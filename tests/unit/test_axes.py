"""Axes of a device: what a list of threads, engines or precisions stands for, in a study and on the command line."""

import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hakd.records.errors import HakdError
from hakd.study.axes import families, family
from hakd.study.branches import by_threads, tokens, tracked
from hakd.study.devices import find_device, find_devices
from hakd.study.files import Configuration, merged_configuration, read_configuration
from hakd.study.schema import checked_study

PI = {"transport": "ssh", "host": "pi4.lab", "threads": [1, 2, 4]}
STUDY = {
    "run": {"devices": ["pi4"], "networks": ["n"], "levels": [0.5], "seeds": [0]},
    "data": {"name": "digits"},
    "networks": {"n": {"family": "mobilenet", "multiplier": 0.25}},
    "devices": {"pi4": PI, "local": {}},
}


def checked(**changes) -> dict:
    """The study with changed top-level keys, checked."""
    return checked_study(Configuration(copy.deepcopy(STUDY | changes), "study.yaml"))


def refused(match: str, **changes) -> HakdError:
    with pytest.raises(HakdError, match=match) as caught:
        checked(**changes)
    return caught.value


def test_a_list_of_threads_is_a_device_for_each_on_one_board():
    config = checked()
    assert list(config["devices"]) == ["pi4-t1", "pi4-t2", "pi4-t4", "local"]
    assert [config["devices"][name]["threads"] for name in ("pi4-t1", "pi4-t2", "pi4-t4", "local")] == [
        1,
        2,
        4,
        1,
    ]
    assert config["run"]["devices"] == ["pi4-t1", "pi4-t2", "pi4-t4"]
    of_board = tokens(config["devices"])
    assert {of_board[name] for name in config["run"]["devices"]} == {"board_pi4_t1"} != {of_board["local"]}


def test_an_expanded_study_is_the_study_with_its_devices_written_out():
    by_hand = {f"pi4-t{count}": {**PI, "threads": count} for count in (1, 2, 4)}
    run = STUDY["run"] | {"devices": list(by_hand)}
    assert checked() == checked(devices=by_hand | {"local": {}}, run=run)
    once = checked()
    assert checked_study(Configuration(once, "study.yaml")) == once  # as a job of the study reads it


def test_one_value_of_an_axis_may_be_run_and_a_value_more_changes_no_other_device():
    one = checked(run=STUDY["run"] | {"devices": ["pi4-t2", "local"]})
    assert one["run"]["devices"] == ["pi4-t2", "local"]
    both = checked(run=STUDY["run"] | {"devices": ["pi4-t2", "pi4"]})
    assert both["run"]["devices"] == ["pi4-t2", "pi4-t1", "pi4-t4"]
    fewer = checked(devices={"pi4": PI | {"threads": [1, 2]}})
    assert all(tracked(fewer, name) == tracked(both, name) for name in ("pi4-t1", "pi4-t2"))


def test_several_axes_give_every_combination_in_one_order_of_names():
    axes = {"threads": [2, 1], "engine": ["onnxruntime", "litert"], "precision": ["float32"]}
    assert list(family("pi4", PI | axes)) == [
        "pi4-onnxruntime-float32-t2", "pi4-onnxruntime-float32-t1", "pi4-litert-float32-t2", "pi4-litert-float32-t1",
    ]  # fmt: skip
    assert list(family("pi4", PI | {"threads": 2, "engine": ["litert"]})) == ["pi4-litert"]
    assert family("local", {"threads": 2}) == {"local": {"threads": 2}}


def test_of_cpus_each_device_takes_the_first_ones():
    found = family("pi4", PI | {"cpus": [3, 1, 2, 0]})
    assert [one["cpus"] for one in found.values()] == [[3], [3, 1], [3, 1, 2, 0]]
    error = refused("fewer CPUs than threads", devices={"pi4": PI | {"cpus": [0, 1]}})
    assert error.key == "devices.pi4.cpus" and "at least 4" in error.remedy


def test_devices_that_differ_in_threads_alone_have_one_name():
    config = checked(devices={"pi4": PI | {"cpus": [0, 1, 2, 3], "engine": ["onnxruntime", "litert"]}})
    assert by_threads(config) == {
        f"pi4-{engine}-t{count}": f"pi4-{engine}"
        for engine in ("onnxruntime", "litert")
        for count in (1, 2, 4)
    }
    named = {"one": {"rounds": 5}, "two": {"rounds": 5, "threads": 2}, "other": {"threads": 2}}
    config = checked(devices=named, run=STUDY["run"] | {"devices": ["two", "one", "other"]})
    assert by_threads(config) == {"one": "one", "two": "one", "other": "other"}


def test_fleets_take_all_devices_of_an_entry_and_its_budget():
    budget, own = {"latency_ms": 2.0}, {"latency_ms": 3.0}
    fleets = {"all": {"devices": ["pi4", "local"], "budgets": {"pi4-t1": own, "pi4": budget}}}
    config = checked(fleets=fleets, run=STUDY["run"] | {"devices": ["pi4", "local"], "fleets": ["all"]})
    assert config["fleets"]["all"]["devices"] == ["pi4-t1", "pi4-t2", "pi4-t4", "local"]
    assert config["fleets"]["all"]["budgets"] == {"pi4-t1": own, "pi4-t2": budget, "pi4-t4": budget}
    error = refused("has the name of a device", fleets={"PI4": {"devices": ["pi4", "local"]}})
    assert error.key == "fleets.PI4"


@pytest.mark.parametrize(
    ("devices", "words", "key"),
    [
        ({"pi4-t2": {}, "pi4": PI}, "'pi4-t2', as does `devices.pi4-t2`", "devices.pi4.threads"),
        ({"pi4": PI, "pi4-t2": {"engine": ["litert"]}}, "'pi4-t2', as does", "devices.pi4.threads"),
        (
            {"a": {"engine": ["litert"], "threads": [1]}, "a-litert": {"threads": [1]}},
            "'a-litert-t1', as does `devices.a`", "devices.a-litert.threads",
        ),
    ],
)  # fmt: skip
def test_a_name_that_two_entries_stand_for_is_one_error(devices, words, key):
    run = STUDY["run"] | {"devices": list(devices)[:1]}
    error = refused("stands for a device", devices=devices, run=run)
    assert words in error.problem and error.key == key and "Rename" in error.remedy


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"threads": []}, "devices.pi4.threads", r"\[\] is not accepted"),
        ({"threads": [1, 1]}, "devices.pi4.threads", "each value once"),
        ({"threads": [1, 0]}, "devices.pi4.threads.1", "0 is not accepted"),
        ({"threads": [1, "many"]}, "devices.pi4.threads.1", "many'? is not accepted"),
        (
            {"engine": ["litert", "tflite"]},
            "devices.pi4.engine.1",
            "Use one of onnxruntime, onnxruntime-cuda, litert",
        ),
        ({"engine": "litter"}, "devices.pi4.engine", "Did you mean 'litert'"),
        ({"precision": []}, "devices.pi4.precision", "is not accepted"),
        ({"engine": ["ncnn"], "batch": 2}, "devices.pi4.batch", "ncnn has no batches"),
        ({"transport": "virtual", "host": None}, "devices.pi4.host", "is not accepted"),
    ],
)
def test_an_error_names_the_key_as_it_is_written(tmp_path, changes, key, words):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"devices": {"pi4": PI | changes}}))
    for call in (
        lambda: checked_study(merged_configuration(yaml.safe_load(path.read_text()), [path])),
        lambda: find_devices(["pi4"], [path]),
    ):
        with pytest.raises(HakdError, match=words) as caught:
            call()
        assert (caught.value.key, str(caught.value.where)) == (key, str(path))


def test_text_stands_for_numbers_in_a_list_too():
    assert list(checked(devices={"pi4": PI | {"threads": ["1", 2.0]}})["devices"]) == ["pi4-t1", "pi4-t2"]


def test_the_command_line_takes_an_entry_or_one_of_its_devices(tmp_path):
    path = tmp_path / "more.yaml"
    path.write_text(yaml.safe_dump({"devices": {"pi4": PI | {"cpus": [0, 1, 2, 3]}, "pi4-x": {"rounds": 0}}}))
    found = find_devices(["pi4"], [path])
    assert [entry.device.name for entry in found] == ["pi4-t1", "pi4-t2", "pi4-t4"]
    assert [entry.device.cpus for entry in found] == [(0,), (0, 1), (0, 1, 2, 3)]
    one = find_device("pi4-t2", [path])
    assert (one.device.name, one.device.threads, one.written) == ("pi4-t2", 2, "pi4")
    assert one.spelled == f"pi4-t2 --config {path}"
    with pytest.raises(HakdError, match=r"several devices \(pi4-t1, pi4-t2, pi4-t4\). Name one: pi4-t1"):
        find_device("pi4", [path])
    assert find_device("pi4", [path], reach_only=True).device.host == "pi4.lab"
    with pytest.raises(HakdError, match=r"unknown device 'pi4-t3'\. Did you mean 'pi4-t"):
        find_device("pi4-t3", [path])
    assert read_configuration([path]).registry("devices")["pi4"]["threads"] == [1, 2, 4]


def test_a_device_file_has_axes_too(tmp_path):
    path = tmp_path / "boards.yaml"
    path.write_text(yaml.safe_dump({"pi4": PI}))
    assert [entry.device.name for entry in find_devices([str(path)])] == ["pi4-t1", "pi4-t2", "pi4-t4"]
    assert find_device(f"{path}:pi4-t4").spelled == f"{path}:pi4-t4"
    path.write_text(yaml.safe_dump({"pi4": PI, "pi4-t4": {}}))
    with pytest.raises(HakdError, match="as does `pi4-t4`") as caught:
        find_device(f"{path}:pi4-t4")
    assert caught.value.key == "pi4.threads" and caught.value.where == str(path)


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "engine": st.lists(st.sampled_from(["onnxruntime", "litert", "ncnn"]), min_size=1, unique=True),
        "threads": st.integers(1, 8) | st.lists(st.integers(1, 8), min_size=1, max_size=4, unique=True),
    },
)


@given(st.dictionaries(st.from_regex(r"[ab](-[ab])?", fullmatch=True), VALUES, max_size=3))
def test_expanded_devices_have_single_values_and_one_entry_each(devices):
    try:
        found = families(devices)
    except HakdError:  # the tests above say when
        names = [member for name, settings in devices.items() for member in {name, *family(name, settings)}]
        assert len(set(names)) < len(names)
        return
    names = [member for members in found.values() for member in members]
    assert len(set(names)) == len(names) and list(found) == list(devices)
    for name, members in found.items():
        product = 1
        for value in devices[name].values():
            product *= len(value) if isinstance(value, list) else 1
        assert len(members) == product
        for member, settings in members.items():
            assert member.startswith(name) and not any(isinstance(value, list) for value in settings.values())
            assert families({member: settings}) == {member: {member: settings}}
