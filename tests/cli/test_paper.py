import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from skrd4ad.cli import published_main as main
from skrd4ad.cli.paper import table
from skrd4ad.model_folder.folder import find_models, read_info
from skrd4ad.model_folder.info import ModelInfo

SCRIPT = Path(__file__).parents[2] / "main.py"
VERBATIM = (
    "--epochs 1 --res 3 --learning_rate 0.005 --batch_size 16 --seed 111 --class all --seg 1 --print_epoch 10 "
    "--data_path {data} --save_path {save} --print_loss 1 --net {net} --L2 0"
)


@pytest.fixture
def two_classes(tiny_data: Path, tmp_path: Path) -> Path:
    """The tiny class twice, with fewer images, under a path that ends as the published ones do."""
    root = tmp_path / "set"
    for name in ("bolt", "nut"):
        shutil.copytree(tiny_data / "machined_disc", root / name)
        for image in sorted((root / name / "train" / "good").iterdir())[6:]:
            image.unlink()
    return root


def run(data: Path, save: Path, *more: object) -> int:
    argv = VERBATIM.format(data=data, save=save, net="efficientnet_lite0").split()
    return main([*argv, "--image_size", "64", *map(str, more)])


def models(save: Path) -> list[ModelInfo]:
    return [read_info(folder) for folder in find_models(save)]


def test_published_command_runs_verbatim(
    two_classes: Path,
    tmp_path: Path,
    res18_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = VERBATIM.format(data=f"{two_classes}/", save=tmp_path / "save", net="res18").split()
    argv += ["--weights", str(res18_weights), "--image_size", "64"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *argv])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 0
    printed = capsys.readouterr()
    # a machine that is busy for ten seconds gets lines of progress there, and nothing else
    assert all(re.search(r"\d+ of \d+$", line) for line in printed.err.splitlines()), printed.err
    lines = printed.out.splitlines()
    assert lines[-4].split("  ")[0] == "class"
    assert [line.split()[0] for line in lines[-3:]] == ["bolt", "nut", "mean"]
    assert sum(line.startswith("epoch [1/1], loss: ") for line in lines) == 2
    infos = models(tmp_path / "save")
    assert [info.class_name for info in infos] == ["bolt", "nut"]
    assert all(info.calibration is None and not info.test_selected for info in infos)
    assert infos[0].data["n_train"] == 6


def test_it_is_a_program_by_itself() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "--data_path" in done.stdout


def test_rate_is_taken_also_for_all_classes(two_classes: Path, tmp_path: Path) -> None:
    assert run(two_classes, tmp_path / "save", "--rate", 0.7, "--L2", 2, "--layerloss", 1, "--seed", 5, 6) == 0
    settings = [info.train for info in models(tmp_path / "save")]
    assert [(t.rate, t.loss, t.seed, t.group_consistency) for t in settings if t] == [(0.7, "mixed", 5, True)] * 2


@pytest.mark.slow
def test_named_class_is_trained_with_each_seed(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(two_classes, tmp_path / "save", "--class_", "nut", "--seed", 1, 2, "--layerloss", 0) == 0
    infos = models(tmp_path / "save")
    assert [(i.class_name, i.train.seed, i.train.group_consistency) for i in infos if i.train] == [
        ("nut", 1, False),
        ("nut", 2, False),
    ]
    assert "nut (seed 2)" in capsys.readouterr().out.splitlines()[-2]


def test_seg_0_gives_image_metrics_only(two_classes: Path, tmp_path: Path) -> None:
    assert run(two_classes, tmp_path / "save", "--class", "nut", "--seg", 0) == 0
    (info,) = models(tmp_path / "save")
    assert info.metrics is not None
    assert info.metrics["image_auroc"] is not None
    assert (info.metrics["pixel_auroc"], info.metrics["aupro"]) == (None, None)


def test_vis_and_print_canshu_show_every_test_image(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--class", "nut", "--vis", 1, "--print_canshu", 1, "--img_path", tmp_path / "img")
    assert run(two_classes, tmp_path / "save", *more) == 0
    written = sorted(str(p.relative_to(tmp_path / "img" / "nut")) for p in (tmp_path / "img").rglob("*.png"))
    test = two_classes / "nut" / "test"
    assert written == sorted(str(p.relative_to(test)) for p in test.rglob("*.png"))
    out = capsys.readouterr().out
    assert all(str(path) in out for path in test.rglob("*.png"))


def test_paper_mode_is_badged(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(two_classes, tmp_path / "save", "--class", "nut", "--paper_mode") == 0
    (info,) = models(tmp_path / "save")
    assert info.test_selected
    assert capsys.readouterr().out.splitlines()[-1].startswith("test-selected")


def test_holdout_gives_thresholds(two_classes: Path, tmp_path: Path) -> None:
    assert run(two_classes, tmp_path / "save", "--class", "nut", "--holdout", 0.3) == 0
    (info,) = models(tmp_path / "save")
    assert info.calibration is not None
    assert info.calibration.n == 2


def test_layout_of_vad_is_one_class(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vad = tmp_path / "vad"
    for split in ("train", "test"):
        shutil.copytree(two_classes / "nut" / split / "good", vad / split / "good")
        shutil.copytree(two_classes / "nut" / "test" / "dent", vad / split / "bad")
    assert run(vad, tmp_path / "save") == 0
    assert capsys.readouterr().out.splitlines()[-2].startswith("vad ")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--cut", 1, "--score_num", 3), ["--cut is 1; allowed: 0", "--score_num is 3; allowed: 1"]),
        (("--class", "screw"), ["'screw'", "bolt, nut"]),
        (("--epochs", 0), ["epochs is 0"]),
        (("--L2", 3), ["--L2", "invalid choice"]),
    ],
)
def test_wrong_use_is_2_and_names_what_is_allowed(
    more: tuple[object, ...], words: list[str], two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(two_classes, tmp_path / "save", *more) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words)


def test_missing_weights_are_explained_without_a_traceback(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(two_classes, tmp_path / "save", "--net", "wide_res50", "--weights", tmp_path / "no.pth") == 1
    message = capsys.readouterr().err
    assert message.startswith("No weights for Wide ResNet-50-2")
    assert "SKRD4AD_WEIGHTS_DIR" in message


def test_mean_is_over_the_classes_that_have_the_figure() -> None:
    rows = [
        ("a", {"image_auroc": 0.5, "pixel_auroc": None, "aupro": 0.25, "aupro_paper": 0.75}),
        ("b", {"image_auroc": 1.0, "pixel_auroc": 0.5, "aupro": 0.75, "aupro_paper": None}),
        ("c", {}),
    ]
    lines = [line.split() for line in table(rows).splitlines()]
    assert lines[3] == ["c", "-", "-", "-", "-"]
    assert lines[4] == ["mean", "0.7500", "0.5000", "0.5000", "0.7500"]
