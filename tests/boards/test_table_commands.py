"""`hakd export-table` and `import-table`: what other tools would read adds up; foreign tables are refused by name."""

import json
import pickle
import re
from pathlib import Path

import pytest
import yaml

from hakd.boards import PROTOCOL
from hakd.cli import FINDING, FINE, main
from hakd.networks.families import full_architecture
from hakd.ops.tensors import width
from hakd.records.arch import NetworkSpec
from hakd.records.tables import read_table
from hakd.sweeping.parts import engine_graph
from tests.boards.virtual_tables import swept, swept_project, write_device

pytestmark = [pytest.mark.beside, pytest.mark.xdist_group("table_commands")]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Two tables of a virtual device without noise: all of a MobileNet's targets, all of a DenseNet's map."""
    targets = ("small", "small.parquet", "--mode", "targets")
    return swept_project(tmp_path_factory, "tables", targets, ("dense", "dense.parquet"))


@pytest.fixture(autouse=True)
def there(project, monkeypatch):
    monkeypatch.chdir(project)


def tiles(path: str) -> dict[str, float]:
    """Milliseconds of the full network's tiles."""
    frame, _ = read_table(path, "latency")
    rows = frame[(frame["kind"] == "tile") & (frame["level"] == 1)]
    return dict(zip(rows["group"], rows["latency_ms"], strict=True))


def network(path: str):
    _, about = read_table(path, "latency")
    return engine_graph(full_architecture(NetworkSpec(**about["network"])))


def export(table: str, kind: str, out: str, *words: str) -> dict:
    assert main(["export-table", table, "--format", kind, "--out", out, *words]) == FINE
    return yaml.safe_load(Path(out).read_text())


def halp_ms(table: dict[str, float], graph) -> float:
    """Sum over all convolutions, looked up under the key that HALP's `CostCalculator` forms, batch 1."""
    total = 0.0
    for op in graph.ops:
        if op.kind == "conv":
            source = graph.tensors[op.inputs[0]]
            cin, cout = width(source.channels), width(graph.tensors[op.output].channels)
            groups = cin if op.depthwise else 1
            total += table[f"1_{cin}_{cout}_{source.size[0]}_{op.kernel[0]}_{op.stride[0]}_{groups}"]
    return total


def test_halp_adds_up_to_the_tiles(capsys):
    table = export("small.parquet", "halp", "halp.json")
    wanted = tiles("small.parquet")
    assert halp_ms(table, network("small.parquet")) == pytest.approx(sum(wanted.values()) - wanted["head"])
    said = capsys.readouterr().out
    assert (
        re.search(r"Left out: \d+ rows that are not tiles", said)
        and "Left out: head (not a convolution)" in said
    )


def test_halp_of_blocks_holds_a_densenets_curves():
    table = export("dense.parquet", "halp", "blocks.json", "--of", "block")
    frame, _ = read_table("dense.parquet", "latency")
    curve = frame[(frame["kind"] == "block") & (frame["group"] == "block2.layer1")]
    assert len(curve) > 8
    keys = {
        f"1_{cin}_{w}_4_1_1_1": ms
        for cin, w, ms in ((13, w, ms) for w, ms in zip(curve["width"], curve["latency_ms"], strict=True))
    }
    assert keys.items() <= table.items()
    # The 3x3 convolution after it is inside the block's time.
    assert {table[f"1_{w}_9_4_3_1_1"] for w in curve["width"]} == {0.0}


def test_once_for_all_adds_up_to_the_network():
    table = export("small.parquet", "ofa", "ofa.yaml")
    graph, names = network("small.parquet"), tiles("small.parquet")
    size, total = 8, table["Conv-input:8x8x1-output:8x8x4"]["mean"]
    shapes = {op.name: graph.tensors[op.output] for op in graph.ops}
    cin = 4
    for number in range(1, 14):
        stride = 2 if number in (2, 4, 6, 12) else 1
        made = -(-size // stride)
        cout = width(shapes[f"block{number}.pointwise.conv"].channels)
        key = f"expanded_conv-input:{size}x{size}x{cin}-output:{made}x{made}x{cout}"
        total += table[f"{key}-expand:1-kernel:3-stride:{stride}-idskip:0"]["mean"]
        size, cin = made, cout
    total += table[f"Logits-input:{size}x{size}x{cin}-output:10"]["mean"]
    assert total == pytest.approx(sum(names.values()))


def test_once_for_all_has_no_dense_layers(capsys):
    table = export("dense.parquet", "ofa", "dense.yaml")
    assert sorted(key.split("-")[0] for key in table) == ["Conv", "Logits"]
    assert "(not a layer type of Once-for-all)" in capsys.readouterr().out


def test_netadapt_adds_up_after_the_documented_conversion(capsys):
    export("small.parquet", "halp", "halp.json")  # the page converts both
    export("small.parquet", "netadapt", "netadapt.json")
    assert "one pair of widths" in capsys.readouterr().out
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    (code,) = re.findall(r"^    (import json, pickle\n(?:    .*\n)+)", page, re.MULTILINE)
    exec(compile(code.replace("\n    ", "\n"), "docs/commands.md", "exec"), {})
    table = pickle.loads(Path("netadapt.pkl").read_bytes())
    assert pickle.loads(Path("halp.pkl").read_bytes()) == json.loads(Path("halp.json").read_text())
    graph, total = network("small.parquet"), 0.0
    for op in graph.ops:
        if op.kind in ("conv", "linear"):
            about = table[op.name]
            cin, cout = (width(graph.tensors[name].channels) for name in (op.inputs[0], op.output))
            assert (about["num_in_channels"], about["num_out_channels"]) == (cin, cout)
            assert about["is_depthwise"] == op.depthwise and about["groups"] == (cin if op.depthwise else 1)
            total += about["latency"][cin, cout]
    assert total == pytest.approx(sum(tiles("small.parquet").values()) / 1e3)


def test_json_comes_back_whole_and_csv_without_its_origin(capsys):
    frame, about = read_table("dense.parquet", "latency")
    export("dense.parquet", "json", "dense.json")
    assert main(["import-table", "dense.json", "--device", "vdev.yaml"]) == FINE
    said = capsys.readouterr().out
    assert (
        f"fingerprint {about['fingerprint']} of vdev" in said
        and "curves known to within their tolerance" in said
    )
    again, told = read_table("tables/vdev-dense.parquet", "latency")
    assert again.equals(frame)
    assert told["imported"]["checked"].startswith("fingerprint") and told["context"] == about["context"]

    # It answers for the device from then on.
    Path("table.yaml").write_text(said.splitlines()[-1])
    swept("dense", "again.parquet", device="table.yaml")
    now, _ = read_table("again.parquet", "latency")
    assert now["latency_ms"].tolist() == pytest.approx(frame["latency_ms"].tolist(), rel=1e-5)

    assert main(["import-table", "dense.json", "--device", "vdev.yaml"]) == FINDING
    assert "exists already" in capsys.readouterr().err
    assert main(["export-table", "dense.parquet", "--format", "csv", "--out", "dense.csv"]) == FINE
    assert main(["import-table", "dense.csv", "--fingerprint", about["fingerprint"]]) == FINDING
    assert "it does not say on which device it was measured" in capsys.readouterr().err
    assert main(["import-table", "dense.csv", "--unchecked", "--out", "rows.parquet"]) == FINE
    assert read_table("rows.parquet", "latency")[0].equals(frame)


def changed(**changes) -> str:
    """The DenseNet's table as JSON, with something changed in its description."""
    export("dense.parquet", "json", "dense.json")
    content = json.loads(Path("dense.json").read_text())
    content["about"] |= changes
    Path("changed.json").write_text(json.dumps(content))
    return "changed.json"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine_version": "1.9"}, r"engine_version: 1\.9 in the table, virtual-1 on vdev\."),
        ({"engine": "ncnn"}, r"engine: ncnn in the table, onnxruntime on vdev\."),
        ({"batch": 8}, r"batch: 8 in the table, 1 on vdev\."),
        ({"context": {"threads": 4}}, r"threads: 4 in the table, 1 on vdev\."),
        ({"context": {"cpu_model": "A72"}}, r"cpu_model: A72 in the table, virtual-\w+-0 on vdev\."),
        ({"fingerprint": "ab"}, r"fingerprint: ab in the table, \w{16} on vdev\. It is another board .* --same-model"),
        ({"protocol": 0}, rf"protocol: measured by timing protocol 0, this program has {PROTOCOL}\."),
        ({"context": [1]}, r"context: is not a mapping\. Get the table"),
        ({"network": {"name": "x"}}, r"network: not a network \("),
        ({"device": "../../x"}, r"device: \.\./\.\./x or dense is not a name of a device or network"),
        ({"engine_version": "1\x1b[2J"}, r"engine_version: 1\?\[2J in the table"),
    ],
)  # fmt: skip
def test_a_table_of_something_else_is_refused_and_both_are_named(changes, message, capsys):
    words = ["import-table", changed(**changes), "--device", "vdev.yaml", "--out", "other.parquet"]
    assert main(words) == FINDING
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1 and not Path("other.parquet").exists()


def test_a_fingerprint_and_another_specimen(capsys):
    table = changed(fingerprint="ab")
    assert main(["import-table", table, "--fingerprint", "cd", "--out", "other.parquet"]) == FINDING
    assert "fingerprint: ab in the table, cd expected" in capsys.readouterr().err
    words = ["import-table", table, "--device", "vdev.yaml", "--same-model", "--out", "twin.parquet"]
    assert main(words) == FINE and "another board" in capsys.readouterr().out
    assert main(["import-table", table, "--fingerprint", "ab", "--out", "same.parquet"]) == FINE


def test_a_table_whose_rows_do_not_fit_its_network_is_refused(capsys):
    table = changed()
    content = json.loads(Path(table).read_text())
    content["rows"][0]["width"] += 100
    Path(table).write_text(json.dumps(content))
    assert main(["import-table", table, "--unchecked", "--out", "other.parquet"]) == FINDING
    assert "the table is not of this dense" in capsys.readouterr().err
    content["rows"][0]["width"] -= 99
    Path(table).write_text(json.dumps(content))
    assert main(["import-table", table, "--unchecked", "--out", "other.parquet"]) == FINDING
    assert re.search(r"two rows for|has another shape", capsys.readouterr().err)


def test_a_changed_device_is_refused(tmp_path, capsys):
    other = write_device(tmp_path / "other.yaml", tile_out=8)
    words = ["import-table", "dense.parquet", "--device", other, "--out", "other.parquet"]
    assert main(words) == FINDING
    assert re.search(r"cpu_model: virtual-\w+-0 in the table, virtual-\w+-0 on vdev", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["small.parquet", "--format", "ofa", "--out", "x.json"],
            r"the format ofa cannot be \.json\. Use \.yaml",
        ),
        (["nowhere.parquet", "--format", "csv", "--out", "x.csv"], r"nowhere\.parquet: no such file"),
    ],
)
def test_export_mistakes_are_one_line(words, message, capsys):
    assert main(["export-table", *words]) == FINDING
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1
