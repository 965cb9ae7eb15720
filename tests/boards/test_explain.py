"""`hakd explain`: a user's own model, on devices whose truth is known, and on this machine."""

import json
import re
from pathlib import Path

import pytest
import torch
import torchvision
import yaml
from torch import nn

from hakd.boards.cost_model import cost_model_from
from hakd.boards.virtual import layers_of
from hakd.cli import main
from hakd.explaining.blocks import block_of
from hakd.explaining.timing import ceiling
from hakd.importing.groups import WidthGroups
from hakd.importing.model import load_model
from hakd.staircase.curve import line_shape
from tests.unit.onnx_nets import IMAGE, Net

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's older exporter
MODEL = {"overhead_us": 3.0, "us_per_mmac": 12.0, "depthwise_us_per_mmac": 30.0, "tile_out": 16}
COMB = {**MODEL, "tile_in": 4, "penalty_in": 1.35}
NOISE = {"sigma": 0.01, "spike_probability": 0.03, "spike_factor": 1.5, "drift": 0.05, "process_sigma": 0.01}


class Block(nn.Module):
    """A residual block, and the width of its inside."""

    def __init__(self, ins: int, inner: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ins, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.down = nn.Identity() if ins == out and stride == 1 else nn.Conv2d(ins, out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.down(x))


class Pruned(nn.Module):
    """As a pruning tool leaves a ResNet: odd widths."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stage1 = nn.Conv2d(3, 32, 3, 1, 1), Block(32, 81, 32)
        self.stage2, self.stage3 = Block(32, 90, 64, 2), Block(64, 64, 64)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stage3(self.stage2(self.stage1(torch.relu(self.stem(x)))))
        return self.classifier(x.mean((2, 3)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models as users export them."""
    folder = tmp_path_factory.mktemp("models")
    settings = [[1, 13, 1, 1], [3, 21, 2, 2], [6, 27, 1, 2]]
    made = {
        "pruned": Pruned(),
        "mobilenet": torchvision.models.mobilenet_v2(
            num_classes=10, round_nearest=1, inverted_residual_setting=settings
        ),
    }
    for name, module in made.items():
        images = torch.randn(1, 3, 32 if name == "mobilenet" else 16, 32 if name == "mobilenet" else 16)
        torch.onnx.export(module.eval(), (images,), str(folder / f"{name}.onnx"), dynamo=False)
    return {name: folder / f"{name}.onnx" for name in made}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A working directory of the user's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def device(**settings) -> str:
    Path("device.yaml").write_text(yaml.safe_dump({"vdev": settings}))
    return "device.yaml"


def explained(capsys, path: Path, spelled: str, *words: str) -> dict:
    assert main(["explain", str(path), "--device", spelled, "--store", "store", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def true_us(width_groups: WidthGroups, name: str, model: dict) -> dict[int, float]:
    """What every width of a group costs, by the formula."""
    group = next(one for one in width_groups.groups if one.name == name)
    cost = cost_model_from(model)
    return {
        w: cost.cost_us(layers_of(block_of(width_groups, group, w).model()))
        for w in range(1, ceiling(group.width) + 1)
    }


@pytest.mark.parametrize("model", [MODEL, COMB], ids=["steps", "comb"])
@pytest.mark.parametrize("name", ["pruned", "mobilenet"])
def test_the_widths_named_are_the_right_ones(name, model, files, project, capsys):
    told = explained(capsys, files[name], device(transport="virtual", cost_model=model))
    width_groups = WidthGroups(load_model(files[name]))
    assert len(told["groups"]) == len(width_groups.groups) >= 5 and not told["not_examined"]
    lost = [one["lost_us"] for one in told["groups"]]
    assert lost == sorted(lost, reverse=True) and told["lost_us"] == pytest.approx(sum(lost))
    for one in told["groups"]:
        truth, now = true_us(width_groups, one["name"], model), one["width"]
        assert one["trusted"] and one["tolerance"] == 0.01
        timed = {int(width): us for width, us in one["timed_us"].items()}
        assert timed == pytest.approx({width: truth[width] for width in timed}, rel=1e-3)
        limit = 1.01 * truth[now]
        # A slope from the present width on is not a plateau: there the tolerance is not a budget (docs/choosing.md).
        right = [width for width in timed if width >= now]
        slope = line_shape(right, [truth[width] for width in right], 0.01) == "line"
        free = now if slope else max(width for width in right if truth[width] <= limit)
        ratio = pytest.approx(truth[free] / truth[now], rel=1e-3)
        assert one["free"] == (None if free == now else {"width": free, "ratio": ratio})
        faster = [width for width in range(min(timed), max(timed) + 1) if truth[width] * 1.01 < truth[now]]
        below = max((width for width in faster if width < now), default=None)
        above = min((width for width in faster if width > now), default=None)
        if one["shape"] == "steps":  # exact: whatever gap it lay in was narrowed down
            assert (one["narrower"] or {"width": None})["width"] == below
            assert (one["wider"] or {"width": None})["width"] == above


def test_the_report_says_it_in_words(files, project, capsys):
    spelled = device(transport="virtual", cost_model=COMB)
    words = ["explain", str(files["pruned"]), "--device", spelled, "--store", "store"]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    total = cost_model_from(COMB).cost_us(layers_of(files["pruned"].read_bytes()))
    counts = f"{total:.1f} us as a whole (stand-in weights), 5 widths examined, 5 of them decided"
    assert said[0].endswith(f"pruned.onnx on vdev (onnxruntime virtual-1, threads 1, batch 1): {counts}")
    stage1 = "81 -> 96 is free (+15 channels, 6% faster), 80 is 22% faster, 84 is 12% faster"
    stage2 = "90 -> 112 is free (+22 channels), 80 is 28% faster, 88 is 19% faster, 92 is 17% faster, 96 is 14% faster"
    assert said[1].startswith(
        f"with these widths, none narrower, it takes 286.0 us instead of {total:.1f} us as a whole, 11% faster"
    )
    assert json.loads(said[2]) == {"/stage1/conv1/Conv": 84, "/stage2/conv1/Conv": 92}
    assert re.match(r"  all rounded up to multiples of 8, beside it: \d+% faster", said[3])
    assert said[4:] == [
        "2 widths lose 53.6 us in all, each changed alone (blocks overlap: the sum is a guide)",
        f"  1  /stage1/conv1/Conv: 38.4 us lost of its block's 184.7 us; {stage1}",
        f"  2  /stage2/conv1/Conv: 15.3 us lost of its block's 78.0 us; {stage2}",
        "  3  stem (+1 tied): nothing lost, block 264.8 us; 32 is a good width, 28 is 5% faster",
        "  4  /stage2/conv2/Conv (+2 tied): nothing lost, block 136.2 us; 64 is a good width, 60 is 1.3% faster",
        "  5  /stage3/conv1/Conv: nothing lost, block 59.6 us; 64 is a good width, 60 is 3% faster",
    ]
    assert main([*words, "--top", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[5].startswith("  1  /stage1") and said[6] == "  and 4 more: --top 5"


def test_on_a_noisy_device_what_is_named_is_near_the_truth(files, project, capsys):
    spelled = device(transport="virtual", cost_model={**COMB, "noise": NOISE, "seed": 3}, min_step=0.1)
    told = explained(capsys, files["pruned"], spelled)
    width_groups = WidthGroups(load_model(files["pruned"]))
    trusted = [one for one in told["groups"] if one["trusted"]]
    assert len(trusted) > 3
    for one in trusted:
        truth, now, eps = true_us(width_groups, one["name"], COMB), one["width"], one["tolerance"]
        assert one["free"] is None or truth[one["free"]["width"]] <= (1 + 1.5 * eps) * truth[now]
        for side in ("narrower", "wider"):
            assert one[side] is None or truth[one[side]["width"]] < truth[now]
    inner = next(one for one in trusted if one["name"] == "/stage1/conv1/Conv")
    assert inner["free"]["width"] in (96, 100) and inner["narrower"]["width"] in (80, 78, 79, 76)


def test_in_much_noise_only_what_is_plain_is_told(files, project, capsys):
    """Bursts that scatter by 30 %: half the width may surely be faster, what is a few channels off cannot be told."""
    noise = {**NOISE, "sigma": 0.3, "process_sigma": 0.3}
    spelled = device(transport="virtual", cost_model={**MODEL, "noise": noise}, min_step=0.02, rounds=3)
    groups = explained(capsys, files["pruned"], spelled)["groups"]
    width_groups = WidthGroups(load_model(files["pruned"]))
    unknown = [one for one in groups if not one["trusted"]]
    assert len(groups) == 5 and len(unknown) >= 3
    for one in unknown:
        assert one["lost_us"] is one["free"] is one["narrower"] is one["wider"] is None and one["good"] == []
        assert (
            "times the processes would be enough" in one["reason"] and ", tolerance 1.0%; " in one["reason"]
        )
    for one in groups:
        truth = true_us(width_groups, one["name"], MODEL)
        assert one["free"] is None and one["tolerance"] == 0.01
        for side in ("narrower", "wider"):
            assert one[side] is None or truth[one[side]["width"]] * 1.2 < truth[one["width"]]


def test_nothing_is_timed_twice(files, project, capsys):
    spelled = device(transport="virtual", cost_model=MODEL)
    first = explained(capsys, files["pruned"], spelled)
    before = {path: path.read_bytes() for path in Path("store").glob("*/*.jsonl")}
    assert explained(capsys, files["pruned"], spelled) == first
    assert {path: path.read_bytes() for path in Path("store").glob("*/*.jsonl")} == before


@pytest.mark.parametrize("engine", ["litert", "ncnn"])
def test_an_engine_that_takes_no_onnx(engine, files, project, capsys):
    """By way of the description; outputs are compared with those of onnxruntime on the model's own blocks."""
    spelled = device(engine=engine, lock_path=str(project / "lock"), burst_ms=0.3, min_step=0.9)
    told = explained(capsys, files["mobilenet"], spelled, "--rounds", "3")
    assert told["engine"] == engine and told["model_us"] > 0 and not told["failures"]
    names = {one["name"] for one in told["groups"]}
    assert names == {one.name for one in WidthGroups(load_model(files["mobilenet"])).groups}
    assert all(us > 0 for one in told["groups"] for us in one["timed_us"].values())


def test_what_an_engine_has_no_form_of_is_named(project, tmp_path, capsys):
    net = Net()
    x = net.op("Abs", net.conv("image", 3, 8, "first"))
    path = net.save(tmp_path, IMAGE, {net.head(net.conv(x, 8, 6, "second"), 6): [1, 4]})
    spelled = device(engine="ncnn", lock_path=str(project / "lock"), burst_ms=0.3, min_step=0.9)
    told = explained(capsys, path, spelled, "--rounds", "3")
    assert told["failures"]["the whole model"] == "ncnn: no implementation of Abs"
    (second,) = [one for one in told["groups"] if one["name"] == "second"]
    assert second["timed_us"]


def test_on_this_machine(files, project, capsys):
    spelled = device(lock_path=str(project / "lock"), burst_ms=0.3, min_step=0.9)
    told = explained(capsys, files["mobilenet"], spelled, "--rounds", "3")
    assert told["engine"] == "onnxruntime" and told["model_us"] > 0 and not told["failures"]
    names = {one["name"] for one in told["groups"]}
    assert names == {one.name for one in WidthGroups(load_model(files["mobilenet"])).groups}
    for one in told["groups"]:
        assert str(one["width"]) in one["timed_us"] and len(one["timed_us"]) >= 8
        assert all(us > 0 for us in one["timed_us"].values())
        better = [other for other in one["good"] if other["ratio"] < 1]
        assert (one["cause"] is not None) == bool(one["lost_us"] and better)
    present = {one["name"]: one["width"] for one in told["groups"]}
    advised = told["advised"] or {"widths": {}, "ratio_high": 0}
    assert (
        (told["advised"] is None) == (told["not_advised"] is not None)
        and told["beside_us"] > 0
        and advised["ratio_high"] < 1
    )
    assert all(width >= present[name] for name, width in advised["widths"].items())


def test_what_cannot_be_timed_does_not_lose_the_rest(project, capsys):
    """A plugin in the file: no plain engine runs the whole, and the blocks before it are timed."""
    net = Net()
    x = net.conv(net.conv("image", 3, 6, "one"), 6, 13, "two")
    net.op("Plugin", net.conv(x, 13, 4, "three"), domain="TRT", name="plugin", out="found")
    path = net.save(project, IMAGE, {"found": [1, 4]})
    spelled = device(lock_path=str(project / "lock"), burst_ms=0.3, min_step=0.9)
    words = ["explain", str(path), "--device", spelled, "--store", "store", "--rounds", "3"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "2 widths examined" in said and "the whole model was not timed: Fail: " in said
    assert "no other set of widths is advised: the whole model was not timed" in said
    assert "three (4): the sizes around Plugin (plugin) are unknown" in said


def test_minutes_that_are_over_leave_the_rest_with_that_reason(files, project, capsys):
    spelled = device(transport="virtual", cost_model=COMB)
    told = explained(capsys, files["pruned"], spelled, "--minutes", "0.000001")
    begun = [one for one in told["groups"] if one["timed_us"]]
    assert len(begun) == 2 and told["not_advised"] == "the time limit was reached"
    left = [one for one in told["groups"] if not one["timed_us"]]
    assert {one["reason"] for one in left} == {"not begun: the time limit of 1e-06 minutes was reached"}
    assert {one["name"] for one in begun} == {"/stage1/conv1/Conv", "/stage2/conv1/Conv"}
    words = ["explain", str(files["pruned"]), "--device", spelled, "--store", "store", "--minutes", "1e-6"]
    assert main(words) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "not begun" in line)
    assert line.startswith("stem (+1 tied), ")
    assert line.endswith(": not begun: the time limit of 1e-06 minutes was reached")
    assert len(explained(capsys, files["pruned"], spelled, "--minutes", "9")["groups"][0]["timed_us"]) > 5
