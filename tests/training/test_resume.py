import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from skrd4ad.data.layouts.find import find_classes
from skrd4ad.errors import CheckpointError, TrainingCancelled
from skrd4ad.model_folder.folder import CONFIG
from skrd4ad.model_folder.info import EpochEntry, ModelInfo
from skrd4ad.model_folder.resume_state import TrainState, read_record, restore_state, save_state
from skrd4ad.model_folder.unfinished import SUFFIX, remove_state, state_file, unfinished_runs
from skrd4ad.task import Status, Task
from skrd4ad.types import DatasetClass
from tests.limits import LONG

Train = Callable[..., ModelInfo]
WeightsOf = Callable[[ModelInfo], dict[str, Tensor]]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def stop_after(epochs: int) -> Task:
    def end(epoch: int, _: object) -> None:
        if epoch == epochs:
            raise TrainingCancelled("enough")

    return Task(point=end)


def stop_within(epoch: int) -> Task:
    """Stops between the first and the second step of an epoch."""
    reached: list[bool] = []

    def show(at: Status) -> None:
        steps = at.total // 3  # of an epoch
        if at.record.phase == "training" and at.done == (epoch - 1) * steps + 1:
            reached.append(True)

    def check() -> None:
        if reached:
            raise TrainingCancelled("enough")

    return Task(show=show, check=check)


def states_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob(f"*{SUFFIX}"))


@pytest.mark.parametrize(
    ("selection", "stop", "epoch", "done"),
    [("holdout", stop_after, 2, 2), ("holdout", stop_within, 2, 1), ("last", stop_within, 3, 2)],
)
def test_a_resumed_training_ends_as_an_uninterrupted_one(
    train_disc: Train,
    weights_of: WeightsOf,
    tmp_path: Path,
    selection: str,
    stop: Callable[[int], Task],
    epoch: int,
    done: int,
) -> None:
    with pytest.raises(TrainingCancelled):
        train_disc(out=tmp_path / "a", task=stop(epoch), selection=selection)
    (state,) = states_below(tmp_path / "a")
    assert read_record(state).epoch == done

    later: list[int] = []
    resumed = train_disc(
        out=tmp_path / "a",
        resume=True,
        selection=selection,
        task=Task(point=lambda epoch, _: later.append(epoch)),
    )
    whole = train_disc(out=tmp_path / "b", selection=selection)
    assert later == list(range(done + 1, 4))
    assert same(weights_of(resumed), weights_of(whole))
    assert (resumed.history, resumed.calibration, resumed.selected_epoch) == (
        whole.history,
        whole.calibration,
        whole.selected_epoch,
    )
    assert resumed.folder == state_path_to_run(state)
    assert states_below(tmp_path) == []


def state_path_to_run(state: Path) -> Path:
    return state.with_name(state.name.removesuffix(SUFFIX))


def test_the_best_epoch_survives_an_interruption(
    train_disc: Train, weights_of: WeightsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr("skrd4ad.training.loop._holdout_score", lambda *_: next(scores))
    with pytest.raises(TrainingCancelled):
        train_disc(task=stop_after(2))
    resumed = train_disc(resume=True)
    assert resumed.selected_epoch == 1
    monkeypatch.undo()
    assert same(weights_of(resumed), weights_of(train_disc(epochs=1, selection="last", out=tmp_path / "one")))


def test_progress_of_a_resumed_training_counts_all_epochs(train_disc: Train) -> None:
    with pytest.raises(TrainingCancelled):
        train_disc(task=stop_after(2))
    seen: list[Status] = []
    train_disc(resume=True, task=Task(show=seen.append))
    training = [p for p in seen if p.record.phase == "training"]
    assert {(p.record.epoch, p.record.epochs) for p in training} == {(2, 3)}
    assert all(p.eta_seconds is not None and p.eta_seconds >= 0 for p in training)


def test_without_resume_an_unfinished_training_is_left_alone(train_disc: Train, tmp_path: Path) -> None:
    with pytest.raises(TrainingCancelled):
        train_disc(task=stop_after(1))
    (state,) = states_below(tmp_path)
    before = state.read_bytes()
    info = train_disc()
    assert len(info.history) == 3
    assert state.read_bytes() == before
    assert info.folder != state_path_to_run(state)


def test_resume_with_nothing_unfinished_begins_anew(train_disc: Train) -> None:
    assert len(train_disc(resume=True, epochs=1).history) == 1


@pytest.mark.parametrize("change", [{"seed": 6}, {"epochs": 2}, {"learning_rate": 0.004}])
def test_a_state_with_other_settings_is_passed_over(
    train_disc: Train, tmp_path: Path, change: dict[str, float]
) -> None:
    with pytest.raises(TrainingCancelled):
        train_disc(task=stop_after(1))
    (state,) = states_below(tmp_path)
    epochs: list[int] = []
    train_disc(resume=True, task=Task(point=lambda epoch, _: epochs.append(epoch)), **change)
    assert epochs[0] == 1
    assert state.exists()


@pytest.mark.parametrize("change", ["other content", "renamed"])
def test_a_state_of_other_data_is_passed_over(
    train_disc: Train, disc: DatasetClass, tmp_path: Path, change: str
) -> None:
    root = Path(shutil.copytree(disc.root, tmp_path / "parts" / disc.name)).parent
    with pytest.raises(TrainingCancelled):
        train_disc(data=find_classes(root)[0], task=stop_after(1))
    images = sorted((root / disc.name / "train" / "good").iterdir())
    if change == "renamed":
        images[0].rename(images[0].with_name("zzz.png"))  # another order, so another split
    else:
        shutil.copy(disc.test[0].path, images[0])
    epochs: list[int] = []
    train_disc(data=find_classes(root)[0], resume=True, task=Task(point=lambda epoch, _: epochs.append(epoch)))
    assert epochs[0] == 1


@pytest.mark.parametrize("damage", [b"", b"not tensors at all", None])
def test_a_damaged_state_is_an_error_that_names_it(train_disc: Train, tmp_path: Path, damage: bytes | None) -> None:
    with pytest.raises(TrainingCancelled):
        train_disc(task=stop_after(1))
    (state,) = states_below(tmp_path)
    state.write_bytes(state.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(CheckpointError) as caught:
        train_disc(resume=True)
    assert str(state) in str(caught.value)
    assert "Delete it and resume again" in str(caught.value)
    state.unlink()
    assert len(train_disc(resume=True, epochs=1).history) == 1


@pytest.mark.parametrize("kind", ["missing tensor", "unknown tensor", "unknown moment"])
def test_a_state_with_other_tensors_is_an_error_that_names_it(train_disc: Train, tmp_path: Path, kind: str) -> None:
    with pytest.raises(TrainingCancelled):
        train_disc(task=stop_after(1))
    (state,) = states_below(tmp_path)
    tensors, record = load_file(state), read_record(state)
    if kind == "missing tensor":
        del tensors["student.bn.conv1.weight"]
    else:
        tensors["other.x" if kind == "unknown tensor" else "adam.x.step"] = torch.zeros(1)
    save_file(tensors, state, metadata={"record": json.dumps(asdict(record))})
    with pytest.raises(CheckpointError, match="state of another network") as caught:
        train_disc(resume=True)
    assert str(state) in str(caught.value)


def test_a_process_that_died_before_it_removed_its_state_leaves_a_complete_run(
    train_disc: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skrd4ad.model_folder.unfinished.remove_state", lambda _: None)
    first = train_disc(epochs=1)
    assert len(states_below(tmp_path)) == 1
    assert unfinished_runs(first.folder.parent) == []
    assert train_disc(epochs=1, resume=True).folder != first.folder


def test_a_new_run_never_takes_the_name_of_an_unfinished_one(train_disc: Train, tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(TrainingCancelled):
            train_disc(task=stop_after(1))
    assert len(states_below(tmp_path)) == 3


KILLED = """
import os, signal, sys
from pathlib import Path
from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.training.train import train
from skrd4ad.task import Status, Task

replace, states = Path.replace, []

def die_at_the_third_state(self, target):
    if str(target).endswith(".training.safetensors"):
        states.append(target)
        if len(states) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = die_at_the_third_state
data, out = Path(sys.argv[1]), Path(sys.argv[2])
config = TrainConfig(epochs=4, batch_size=4, holdout=0.25, seed=5)
train(find_classes(data)[0], model=ModelConfig(image_size=64), config=config, out=out, source="tests")
"""


@pytest.mark.slow
def test_a_killed_process_leaves_a_state_that_resumes_to_the_same_weights(
    train_disc: Train, weights_of: WeightsOf, tiny_data: Path, tmp_path: Path
) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "OMP_DISPLAY_ENV": "true"}
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tiny_data), str(tmp_path / "out")],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=LONG,
    )
    assert ended.returncode == -signal.SIGKILL
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in ended.stderr  # as the threads themselves say
    (state,) = states_below(tmp_path / "out")
    assert read_record(state).epoch == 2
    assert len(list(state.parent.iterdir())) == 2  # the state, and what the killed write left

    resumed = train_disc(epochs=4, resume=True)
    assert same(weights_of(resumed), weights_of(train_disc(epochs=4, out=tmp_path / "whole")))
    assert [path.name for path in resumed.folder.parent.iterdir()] == [resumed.folder.name]
    assert (resumed.folder / CONFIG).is_file()


# the state by itself


class _Partly(nn.Module):
    """Like a published student: a part of it is never used, so Adam holds no moments for it."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)
        self.used = nn.Linear(3, 1)
        self.norm = nn.BatchNorm1d(1)


def _step(net: _Partly, adam: torch.optim.Optimizer, seed: int) -> None:
    adam.zero_grad(set_to_none=True)
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
    net.norm(net.used(x)).pow(3).sum().backward()
    adam.step()


def test_a_restored_optimiser_steps_as_the_one_that_was_stored(tmp_path: Path) -> None:
    path = tmp_path / f"run{SUFFIX}"
    net = _Partly()
    adam = torch.optim.Adam(net.parameters(), lr=0.1, betas=(0.5, 0.999))
    for seed in range(3):
        _step(net, adam, seed)
    entry = EpochEntry(epoch=1, loss=0.5, holdout_score=None)
    record = TrainState(settings={"seed": 1}, epoch=3, best_epoch=2, best_score=0.25, seconds=1.5, history=[entry])
    best = {"used.weight": torch.arange(3.0)}
    save_state(path, record=record, student=net, optimizer=adam, best=best)

    other = _Partly()
    other_adam = torch.optim.Adam(other.parameters(), lr=0.1, betas=(0.5, 0.999))
    found, found_best = restore_state(path, student=other, optimizer=other_adam)
    assert found == read_record(path) == record
    assert same(found_best, best)
    for seed in range(3, 6):
        _step(net, adam, seed)
        _step(other, other_adam, seed)
    assert same(net.state_dict(), other.state_dict())


def test_no_best_score_yet_survives_the_file(tmp_path: Path) -> None:
    net = nn.Linear(1, 1)
    path = tmp_path / f"run{SUFFIX}"
    save_state(path, record=TrainState(settings={}), student=net, optimizer=torch.optim.Adam(net.parameters()), best={})
    assert read_record(path).best_score is None


def test_unfinished_runs_are_listed_newest_first(tmp_path: Path) -> None:
    for name in ("20260101-000000-a", "20260301-000000-a", "20260201-000000-a"):
        state_file(tmp_path / name).touch()
    (tmp_path / "20260201-000000-a").mkdir()  # complete
    assert [run.name for run in unfinished_runs(tmp_path)] == ["20260301-000000-a", "20260101-000000-a"]
    assert unfinished_runs(tmp_path / "none") == []


def test_removing_a_state_takes_its_leftovers_and_nothing_else(tmp_path: Path) -> None:
    state, other = state_file(tmp_path / "run[1]"), state_file(tmp_path / "run1")
    for file in (state, other, tmp_path / f".{state.name}.0a1b2c3d", tmp_path / f".{other.name}.0a1b2c3d"):
        file.touch()
    remove_state(state)
    assert {path.name for path in tmp_path.iterdir()} == {other.name, f".{other.name}.0a1b2c3d"}
    remove_state(state)  # nothing there is no failure


def test_a_record_of_unknown_form_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / f"run{SUFFIX}"
    save_file({"student.x": torch.zeros(1)}, path, metadata={"record": '{"settings": {}, "from_the_future": 1}'})
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_record(path)
    save_file({"student.x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_record(path)
