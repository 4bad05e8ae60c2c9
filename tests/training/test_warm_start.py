from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from skrd4ad.config import ModelConfig
from skrd4ad.data.sources import open_dataset
from skrd4ad.digests import file_digest, image_digest
from skrd4ad.errors import CheckpointError, ConfigError, DataError, TrainingCancelled
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import WEIGHTS, read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import split_holdout, unseen_samples
from skrd4ad.model_folder.unfinished import unfinished_runs
from skrd4ad.task import QUIET, Task
from skrd4ad.training.train import train
from skrd4ad.training.warm_start import WarmStart
from skrd4ad.types import DatasetClass, Sample

GoOn = Callable[..., ModelInfo]
Split = tuple[tuple[Sample, ...], tuple[Sample, ...]]


@pytest.fixture
def parent(trained: ModelInfo) -> ModelInfo:
    return trained


@pytest.fixture
def split(disc: DatasetClass, parent: ModelInfo) -> Split:
    """Images the parent has learnt from, and those held out from it."""
    assert parent.train is not None
    return split_holdout(disc.train, share=parent.train.holdout, seed=parent.train.seed)


@pytest.fixture
def start(parent: ModelInfo, split: Split) -> WarmStart:
    return WarmStart(folder=parent.folder, learn=split[0], held_out=split[1])


@pytest.fixture
def go_on(parent: ModelInfo) -> GoOn:
    """``go_on(data, start, out, epochs=2, …)`` trains with the settings of the parent, where no others are given."""

    def run(
        data: DatasetClass,
        start: WarmStart | None,
        out: Path,
        *,
        resume: bool = False,
        task: Task = QUIET,
        model: ModelConfig = parent.model,
        **changes: Any,
    ) -> ModelInfo:
        assert parent.train is not None
        return train(
            data,
            model=model,
            config=replace(parent.train, **changes),
            out=out,
            source="tests",
            start=start,
            resume=resume,
            task=task,
        )

    return run


def stop_after(epochs: int) -> Task:
    def end(epoch: int, _: object) -> None:
        if epoch == epochs:
            raise TrainingCancelled("enough")

    return Task(point=end)


def test_a_trained_student_begins_where_it_stood(
    go_on: GoOn, disc: DatasetClass, parent: ModelInfo, start: WarmStart, tmp_path: Path
) -> None:
    scratch = go_on(disc, None, tmp_path / "scratch", epochs=1)
    onward = go_on(disc, start, tmp_path / "onward", epochs=1)
    assert onward.history[0]["loss"] < 0.9 * scratch.history[0]["loss"]
    assert onward.history[0]["loss"] < parent.history[-1]["loss"]
    assert onward.history[0]["holdout_score"] < scratch.history[0]["holdout_score"]


def test_without_a_start_its_images_are_recorded_and_no_test_image_is_lost(
    go_on: GoOn, disc: DatasetClass, tmp_path: Path
) -> None:
    info = go_on(disc, None, tmp_path / "out", epochs=1)
    assert "started_from" not in info.data
    assert {*info.data["learnt"], *info.data["held_out"]} == {image_digest(s.path) for s in disc.train}
    assert not {*info.data["learnt"]} & {*info.data["held_out"]}
    assert unseen_samples(info, disc.test) == disc.test


def test_the_parent_and_every_image_are_recorded(
    go_on: GoOn, disc: DatasetClass, parent: ModelInfo, split: Split, tmp_path: Path
) -> None:
    learn, held_out = split
    start = WarmStart(
        folder=parent.folder,
        learn=learn[:5],
        held_out=held_out,
        already=frozenset({"f" * 64}),
        held_out_text="held-out good images, chosen by hand",
        note="Goes on from run.",
    )
    info = read_info(go_on(replace(disc, note="tiny parts"), start, tmp_path / "out", epochs=1).folder)
    assert info.data["started_from"] == {"run": "run", "digest": parent.digest}
    assert set(info.data["learnt"]) == {file_digest(s.path) for s in learn[:5]} | {"f" * 64}
    assert set(info.data["held_out"]) == {file_digest(s.path) for s in held_out}
    assert (info.data["n_train"], info.data["n_holdout"]) == (5, len(held_out))
    assert info.data["note"] == "tiny parts. Goes on from run."
    assert info.calibration is not None and info.calibration.data == "3 held-out good images, chosen by hand"
    assert "Goes on from run." in (info.folder / "model_card.md").read_text()


def test_an_interrupted_training_goes_on_as_an_uninterrupted_one(
    go_on: GoOn, disc: DatasetClass, start: WarmStart, tmp_path: Path
) -> None:
    whole = go_on(disc, start, tmp_path / "whole", epochs=2)
    with pytest.raises(TrainingCancelled):
        go_on(disc, start, tmp_path / "parts", epochs=2, task=stop_after(1))
    again = go_on(disc, start, tmp_path / "parts", epochs=2, resume=True)
    assert again.digest == whole.digest and again.history == whole.history
    assert again.data["learnt"] == whole.data["learnt"]


@pytest.mark.parametrize("other", ["parent", "images", "none"])
def test_a_training_with_another_start_is_not_gone_on_with(
    go_on: GoOn, disc: DatasetClass, start: WarmStart, tmp_path: Path, other: str
) -> None:
    with pytest.raises(TrainingCancelled):
        go_on(disc, start, tmp_path / "out", epochs=2, task=stop_after(1))
    changed: WarmStart | None = None
    if other == "parent":
        changed = replace(start, folder=go_on(disc, None, tmp_path / "other", epochs=1, seed=9).folder)
    elif other == "images":
        changed = replace(start, learn=start.learn[1:])
    info = go_on(disc, changed, tmp_path / "out", epochs=2, resume=True)
    assert len(unfinished_runs(info.folder.parent)) == 1
    assert len(info.history) == 2 and info.history[0]["epoch"] == 1


def test_another_design_is_refused(go_on: GoOn, disc: DatasetClass, start: WarmStart, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"128 x 128 pixels\. A training goes on from a student of the same design"):
        go_on(disc, start, tmp_path / "out", epochs=1, model=ModelConfig(image_size=128))
    with pytest.raises(ConfigError, match=r"2 skip connections, .* 0 skip connections"):
        go_on(disc, start, tmp_path / "out", epochs=1, model=ModelConfig(image_size=64, res=1))
    assert not list(tmp_path.glob("out/*/*/*"))


def test_another_teacher_and_damaged_weights_are_refused(
    go_on: GoOn, disc: DatasetClass, start: WarmStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("skrd4ad.training.train.weights_digest", lambda _: "0" * 16)
        with pytest.raises(CheckpointError, match="other weights of the teacher"):
            go_on(disc, start, tmp_path / "out", epochs=1)
    weights = start.folder / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="changed or damaged"):
        go_on(disc, start, tmp_path / "out", epochs=1)


def test_a_split_without_what_the_settings_need_is_refused(
    go_on: GoOn, disc: DatasetClass, start: WarmStart, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="none can be held out to choose"):
        go_on(disc, replace(start, held_out=()), tmp_path / "out", epochs=1)
    with pytest.raises(DataError, match="There are 1 good images to learn from"):
        go_on(disc, replace(start, learn=start.learn[:1]), tmp_path / "out", epochs=1)
    info = go_on(disc, replace(start, held_out=()), tmp_path / "out", epochs=1, selection="last", holdout=0.0)
    assert info.calibration is None and info.data["held_out"] == []


def test_a_model_is_not_evaluated_on_what_it_was_trained_or_calibrated_with(
    go_on: GoOn, disc: DatasetClass, start: WarmStart, tmp_path: Path
) -> None:
    good = [s for s in disc.test if s.label == 0]
    as_train = [replace(s, split="train") for s in good]
    seen = replace(start, learn=(*start.learn, as_train[0]), held_out=(*start.held_out, as_train[1]))
    info = go_on(disc, seen, tmp_path / "out", epochs=1)
    found = evaluate_model(Predictor.load(info.folder), disc)
    assert {s.path for s in disc.test} - {s.path for s in found.samples} == {good[0].path, good[1].path}
    assert (found.left_out, found.metrics.n_good) == (2, len(good) - 2)
    assert "2 test images were left out" in found.protocol
    with pytest.raises(DataError, match="All 2 test images"):
        evaluate_model(Predictor.load(info.folder), replace(disc, samples=tuple(good[:2])))


def test_the_random_state_of_the_caller_stays(
    go_on: GoOn, disc: DatasetClass, start: WarmStart, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    go_on(disc, start, tmp_path / "out", epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_images_of_another_data_set_may_be_learnt_from(
    go_on: GoOn, disc: DatasetClass, start: WarmStart, more_parts: Path, tmp_path: Path
) -> None:
    others = open_dataset(more_parts)[0].train[:4]
    info = go_on(disc, replace(start, learn=(*start.learn, *others)), tmp_path / "out", epochs=1)
    assert {file_digest(s.path) for s in others} <= set(info.data["learnt"])
    assert (info.dataset, info.class_name) == (disc.dataset, disc.name)
