import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.digests import file_digest
from skrd4ad.documents import to_plain
from skrd4ad.errors import CheckpointError, DataError, ImageError, TrainingError
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import CARD, find_models, read_info, save_metrics
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import data_digest, split_holdout
from skrd4ad.task import Status, Task
from skrd4ad.training import train as train_module
from skrd4ad.training.loop import epoch_batches, rate_factor
from skrd4ad.types import DatasetClass

Train = Callable[..., ModelInfo]
WeightsOf = Callable[[ModelInfo], dict[str, Tensor]]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def disc_copy(disc: DatasetClass, tmp_path: Path) -> Path:
    """Root of a copy of the disc that a test may change."""
    return Path(shutil.copytree(disc.root, tmp_path / "copy" / disc.name)).parent


# determinism


def test_the_same_seed_gives_the_same_weights_bit_for_bit(train_disc: Train, weights_of: WeightsOf) -> None:
    first, second = train_disc(epochs=2), train_disc(epochs=2)
    assert first.folder != second.folder
    assert same(weights_of(first), weights_of(second))
    assert first.history == second.history
    assert first.calibration == second.calibration


def test_another_seed_gives_other_weights(train_disc: Train, weights_of: WeightsOf) -> None:
    first, second = (weights_of(train_disc(epochs=1, seed=seed)) for seed in (1, 2))
    assert not torch.equal(first["bn.conv1.weight"], second["bn.conv1.weight"])


def test_training_leaves_the_global_random_state_alone(train_disc: Train) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    train_disc(epochs=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_features_on_disk_give_the_same_weights(
    train_disc: Train, weights_of: WeightsOf, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    in_memory = train_disc(epochs=2)
    monkeypatch.setenv("SKRD4AD_CACHE_MB", "0")
    on_disk = train_disc(epochs=2)
    assert same(weights_of(in_memory), weights_of(on_disk))
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_the_loss_goes_down(train_disc: Train) -> None:
    losses = [entry["loss"] for entry in train_disc(epochs=8).history]
    assert losses[-1] < 0.6 * losses[0]
    assert sorted(losses, reverse=True)[:2] == losses[:2]


# batches


def test_every_image_is_in_one_batch_of_an_epoch() -> None:
    batches = epoch_batches(50, batch_size=16, seed=1, epoch=1)
    assert [len(b) for b in batches] == [16, 16, 16, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(50))


@pytest.mark.parametrize(("n", "sizes"), [(17, [17]), (33, [16, 17]), (32, [16, 16]), (2, [2])])
def test_a_last_batch_of_one_image_joins_the_one_before(n: int, sizes: list[int]) -> None:
    batches = epoch_batches(n, batch_size=16, seed=1, epoch=1)
    assert [len(b) for b in batches] == sizes
    assert sorted(torch.cat(batches).tolist()) == list(range(n))


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        torch.rand(seed + epoch)  # the global random state plays no part
        return torch.cat(epoch_batches(40, batch_size=8, seed=seed, epoch=epoch)).tolist()

    assert order(1, 1) == order(1, 1)
    assert len({tuple(order(seed, epoch)) for seed, epoch in itertools.product((1, 2), (1, 2))}) == 4


def test_a_class_whose_last_batch_would_be_one_image_trains(train_disc: Train) -> None:
    assert train_disc(epochs=1, batch_size=8).data["n_train"] == 9  # batches of 8 and 1


# what is held out


def test_the_split_is_reproducible_and_complete(disc: DatasetClass) -> None:
    learn, held_out = split_holdout(disc.train, share=0.25, seed=4)
    assert (learn, held_out) == split_holdout(disc.train, share=0.25, seed=4)
    assert len(held_out) == 3
    assert sorted(learn + held_out, key=lambda s: s.path) == sorted(disc.train, key=lambda s: s.path)
    assert len({split_holdout(disc.train, share=0.25, seed=seed)[1] for seed in range(8)}) > 1


@pytest.mark.parametrize(("share", "n"), [(0.0, 0), (0.001, 1), (0.1, 1), (0.5, 6)])
def test_at_least_one_image_is_held_out_when_the_share_is_above_zero(disc: DatasetClass, share: float, n: int) -> None:
    assert len(split_holdout(disc.train, share=share, seed=1)[1]) == n


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Contents of the images of every feature cache, in the order in which they are made: learning, holding."""
    seen: list[list[str]] = []
    make = train_module.cache_features

    def spy(teacher: Any, samples: Any, **options: Any) -> Any:
        seen.append([file_digest(sample.path) for sample in samples])
        return make(teacher, samples, **options)

    monkeypatch.setattr(train_module, "cache_features", spy)
    return seen


def test_held_out_images_are_never_learnt_from(train_disc: Train, disc: DatasetClass, cached: list[list[str]]) -> None:
    info = train_disc(epochs=1)
    learning, holding = cached
    assert set(learning).isdisjoint(holding)
    assert len(holding) == info.data["n_holdout"] == 3
    assert sorted(learning + holding) == sorted(file_digest(sample.path) for sample in disc.train)


def test_copies_of_held_out_images_are_not_learnt_from_either(
    train_disc: Train, disc_copy: Path, cached: list[list[str]]
) -> None:
    good = disc_copy / "machined_disc" / "train" / "good"
    for image in list(good.iterdir()):
        shutil.copy(image, good / f"copy_{image.name}")
    info = train_disc(data=find_classes(disc_copy)[0], epochs=1)
    learning, holding = cached
    assert set(learning).isdisjoint(holding)
    assert info.data["n_train"] == len(learning)


def test_a_class_of_copies_cannot_be_trained_on(train_disc: Train, disc_copy: Path) -> None:
    good = disc_copy / "machined_disc" / "train" / "good"
    images = sorted(good.iterdir())
    for image in images[1:]:
        shutil.copy(images[0], image)
    with pytest.raises(DataError, match="copies of held-out ones"):
        train_disc(data=find_classes(disc_copy)[0])


@pytest.mark.parametrize("left", [1, 2])
def test_too_few_good_images_are_refused_with_their_number(train_disc: Train, disc: DatasetClass, left: int) -> None:
    few = replace(disc, samples=disc.train[:left] + disc.test)
    with pytest.raises(DataError, match=f"There are {left} good images"):
        train_disc(data=few)


def test_two_images_and_nothing_held_out_are_enough(train_disc: Train, disc: DatasetClass) -> None:
    info = train_disc(data=replace(disc, samples=disc.train[:2]), epochs=1, holdout=0, selection="last")
    assert info.calibration is None
    assert info.history[0]["holdout_score"] is None
    assert "no verdicts" in (info.folder / CARD).read_text()


def test_the_thresholds_are_those_of_the_saved_model_on_the_held_out_images(
    train_disc: Train, disc: DatasetClass
) -> None:
    info = train_disc(epochs=2)
    assert info.calibration is not None
    held_out = replace(
        disc, samples=tuple(replace(s, split="test") for s in split_holdout(disc.train, share=0.25, seed=5)[1])
    )
    scores = evaluate_model(Predictor.load(info.folder), held_out).data.scores
    assert info.calibration.scores == pytest.approx(sorted(scores.tolist()), rel=1e-5)
    assert info.calibration.n == 3


def test_the_digest_of_the_data_ignores_names_and_order_but_not_contents(disc: DatasetClass, disc_copy: Path) -> None:
    copied = find_classes(disc_copy)[0]
    assert data_digest(tuple(reversed(copied.train))) == data_digest(disc.train)
    assert data_digest(disc.train[1:]) != data_digest(disc.train)


# the choice of the epoch


@pytest.fixture
def holdout_scores_are(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def prescribe(*scores: float) -> None:
        given: Iterator[float] = iter(scores)
        monkeypatch.setattr("skrd4ad.training.loop._holdout_score", lambda *_: next(given))

    return prescribe


@pytest.fixture
def evaluations_give(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Prescribes image AUROCs of the evaluations during training; the list returned grows by one an evaluation."""

    def prescribe(*figures: float) -> list[int]:
        given, calls = iter(figures), []

        def evaluation(*_: object, **__: object) -> SimpleNamespace:
            calls.append(1)
            return SimpleNamespace(metrics=SimpleNamespace(pixel_auroc=None, aupro_paper=None, image_auroc=next(given)))

        monkeypatch.setattr("skrd4ad.training.loop.evaluate_model", evaluation)
        return calls

    return prescribe


@pytest.mark.parametrize(
    ("scores", "chosen"), [((3.0, 1.0, 2.0), 2), ((1.0, 2.0), 1), ((2.0, 1.0), 2), ((1.0, 1.0), 1)]
)
def test_the_epoch_with_the_lowest_held_out_score_is_kept(
    train_disc: Train,
    weights_of: WeightsOf,
    holdout_scores_are: Callable[..., None],
    scores: tuple[float, ...],
    chosen: int,
) -> None:
    holdout_scores_are(*scores)
    info = train_disc(epochs=len(scores))
    assert info.selected_epoch == chosen
    holdout_scores_are(*scores)
    until_then = train_disc(epochs=chosen, selection="last")
    assert same(weights_of(info), weights_of(until_then))


def test_the_last_epoch_is_kept_whatever_the_held_out_score(
    train_disc: Train, holdout_scores_are: Callable[..., None]
) -> None:
    holdout_scores_are(1.0, 2.0)
    assert train_disc(epochs=2, selection="last").selected_epoch == 2


def test_paper_mode_keeps_the_best_epoch_on_the_test_set_and_says_so(
    train_disc: Train, weights_of: WeightsOf, disc: DatasetClass, evaluations_give: Callable[..., list[int]]
) -> None:
    calls = evaluations_give(0.5, 0.9, 0.7)
    info = train_disc(epochs=3, selection="test", evaluate_every=1)
    assert (info.selected_epoch, len(calls), info.test_selected) == (2, 3, True)
    assert same(weights_of(info), weights_of(train_disc(epochs=2, selection="last")))
    assert "the best on the test set" in (info.folder / CARD).read_text()
    assert read_info(info.folder).test_selected
    evaluation = evaluate_model(Predictor.load(info.folder), disc)
    assert evaluation.test_selected is True
    assert "selected on this test set" in evaluation.protocol
    save_metrics(info.folder, to_plain(evaluation.metrics) | {"protocol": evaluation.protocol, "test_selected": True})
    assert "**Test-selected" in (info.folder / CARD).read_text()


def test_paper_mode_evaluates_as_often_as_asked_and_after_the_last_epoch(
    train_disc: Train, evaluations_give: Callable[..., list[int]]
) -> None:
    calls = evaluations_give(0.9, 0.5)
    info = train_disc(epochs=3, selection="test", evaluate_every=2)
    assert (len(calls), info.selected_epoch) == (2, 2)


def test_paper_mode_works_on_real_figures(train_disc: Train) -> None:
    info = train_disc(epochs=2, selection="test", evaluate_every=1)
    assert info.selected_epoch in (1, 2)


@pytest.mark.parametrize("label", [0, 1])
def test_paper_mode_is_refused_at_once_when_the_test_set_has_one_class(
    train_disc: Train, disc: DatasetClass, label: int
) -> None:
    data = replace(disc, samples=disc.train + tuple(s for s in disc.test if s.label == label))
    with pytest.raises(DataError, match="needs both"):
        train_disc(data=data, selection="test", task=Task(show=pytest.fail))


def test_by_default_nothing_is_chosen_on_the_test_set() -> None:
    assert TrainConfig().selection == "holdout"


def test_test_images_are_never_read_unless_the_epoch_is_chosen_on_them(
    train_disc: Train, disc_copy: Path, weights_of: WeightsOf
) -> None:
    for image in (disc_copy / "machined_disc" / "test").rglob("*.png"):
        image.write_bytes(b"garbage")
    garbage = find_classes(disc_copy)[0]
    spoilt = train_disc(data=garbage, epochs=1)
    assert not spoilt.test_selected
    assert same(weights_of(spoilt), weights_of(train_disc(epochs=1)))
    with pytest.raises(ImageError):
        train_disc(data=garbage, epochs=1, selection="test")


# skips


def test_res_1_2_and_3_are_three_models(train_disc: Train, weights_of: WeightsOf, disc: DatasetClass) -> None:
    infos = [train_disc(model=ModelConfig(image_size=64, res=res), epochs=1) for res in (1, 2, 3)]
    scores = [evaluate_model(Predictor.load(info.folder), disc).data.scores for info in infos]
    for one, other in itertools.combinations(range(3), 2):
        assert not same(weights_of(infos[one]), weights_of(infos[other]))
        assert abs(scores[one] - scores[other]).max() > 1e-3


# progress


def test_progress_goes_through_its_phases_in_order(train_disc: Train) -> None:
    seen: list[Status] = []
    entries: list[dict[str, Any]] = []
    task = Task(show=seen.append, point=lambda epoch, values: entries.append({"epoch": epoch, **values}))
    info = train_disc(epochs=3, task=task)
    assert [phase for phase, _ in itertools.groupby(p.record.phase for p in seen)] == [
        "reading",
        "training",
        "finishing",
    ]
    assert tuple(entries) == info.history
    assert [entry["epoch"] for entry in entries] == [1, 2, 3]

    reading = [p for p in seen if p.record.phase == "reading"]
    assert (reading[-1].done, reading[-1].total) == (12, 12)

    training = [p for p in seen if p.record.phase == "training"]
    assert [(p.record.epoch, p.done, p.total) for p in training] == [(step // 2, step + 1, 6) for step in range(6)]
    assert [p.text for p in training][::2] == ["epoch 1 of 3", "epoch 2 of 3", "epoch 3 of 3"]
    assert all(p.record.epochs == 3 for p in training)
    assert all(p.record.images_per_second is not None and p.record.images_per_second > 0 for p in training)
    shares = [p.share for p in seen]
    assert shares == sorted(shares) and shares[-1] <= 1
    assert all(p.eta_seconds is not None and p.eta_seconds >= 0 for p in training)
    assert training[-1].eta_seconds == pytest.approx(0, abs=1e-6)
    assert [training[1].record.loss, training[3].record.loss] == [info.history[0]["loss"], info.history[1]["loss"]]
    assert training[0].record.holdout_score is None
    assert training[2].record.holdout_score == info.history[0]["holdout_score"]


def test_time_spent_in_a_pause_does_not_count(train_disc: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("skrd4ad.training.loop.time", SimpleNamespace(monotonic=lambda: clock[0]))
    reports: list[Status] = []

    def wait() -> None:
        clock[0] += 3600

    def work(at: Status) -> None:
        clock[0] += 1
        reports.append(at)

    info = train_disc(epochs=2, task=Task(show=work, check=wait))
    assert info.training_seconds == 4  # 2 epochs of 2 steps
    assert [p.eta_seconds for p in reports if p.record.phase == "training"][2] == pytest.approx(
        2 / 3
    )  # 2 s for 1.5 epochs


# failures


def test_a_file_in_place_of_the_folder_is_said_before_training(train_disc: Train, tmp_path: Path) -> None:
    out = tmp_path / "occupied"
    out.write_text("a file")
    with pytest.raises(CheckpointError, match="cannot be written"):
        train_disc(out=out, task=Task(show=pytest.fail))
    assert out.read_text() == "a file"


def test_a_state_that_cannot_be_written_is_a_checkpoint_error(train_disc: Train, tmp_path: Path) -> None:
    def block(at: Status) -> None:
        folder = tmp_path / "out" / "parts" / "machined_disc"
        if at.record.phase == "training" and folder.is_dir():
            folder.rmdir()
            folder.write_text("a file")

    with pytest.raises(CheckpointError, match=r"training\.safetensors cannot be written"):
        train_disc(task=Task(show=block))
    assert list(find_models(tmp_path / "out")) == []


def test_a_model_folder_that_cannot_be_written_leaves_no_half_folder_and_keeps_the_state(
    train_disc: Train, weights_of: WeightsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("skrd4ad.model_folder.network.model_card", full)
        with pytest.raises(CheckpointError, match="No space left on device"):
            train_disc(epochs=2)
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(left) == 1
    assert left[0].endswith(".training.safetensors")
    resumed = train_disc(epochs=2, resume=True, task=Task(point=lambda *_: pytest.fail("trained")))
    assert same(weights_of(resumed), weights_of(train_disc(epochs=2)))


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_learning_rate(
    train_disc: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skrd4ad.training.loop.distillation_loss", lambda *_, **__: torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match=r"nan in epoch 1 with learning rate 0\.005"):
        train_disc(epochs=2)


# the record


def test_the_model_folder_tells_what_was_trained_on_what(train_disc: Train, disc: DatasetClass, tmp_path: Path) -> None:
    info = train_disc(epochs=2)
    assert list(find_models(tmp_path / "out")) == [info.folder]
    assert read_info(info.folder) == info
    assert (info.dataset, info.class_name) == (disc.dataset, "machined_disc")
    assert info.data["digest"] == data_digest(disc.train)
    assert (info.data["n_train"], info.data["n_holdout"], info.data["source"]) == (9, 3, "tests")
    assert len(info.history) == 2
    assert {path.name for path in info.folder.iterdir()} == {
        "model.safetensors",
        "config.json",
        "calibration.json",
        "model_card.md",
        "reference.json",
    }


def test_a_published_teacher_trains_from_a_weights_file(
    train_disc: Train, res18_weights: Path, disc: DatasetClass
) -> None:
    info = train_disc(
        model=ModelConfig(net="res18", image_size=64), weights=res18_weights, epochs=1, holdout=0, selection="last"
    )
    found = evaluate_model(Predictor.load(info.folder, weights=res18_weights), disc)
    assert found.metrics.image_auroc is not None


# schedule


def test_cosine_schedule_rises_and_falls_to_zero(train_disc: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rate_factor("constant", 0.99) == 1
    shares = [step / 1000 for step in range(1000)]
    factors = [rate_factor("cosine", share) for share in shares]
    assert factors.index(max(factors)) == pytest.approx(50, abs=2)
    assert factors[0] < 0.02 and factors[-1] < 1e-5
    assert rate_factor("cosine", 0.5) == pytest.approx(0.5)


def test_every_step_has_the_learning_rate_of_the_schedule(
    train_disc: Train, weights_of: WeightsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    step = torch.optim.Adam.step

    def spy(self: torch.optim.Adam, *arguments: Any, **named: Any) -> Any:
        seen.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    info = train_disc(epochs=9, most_steps=4, schedule="cosine", learning_rate=0.01)
    # 9 images to learn from, 4 a step, the last one joined: 2 steps an epoch
    assert info.train is not None and info.train.epochs == 2 and len(info.history) == 2
    assert seen == pytest.approx([0.01 * rate_factor("cosine", share) for share in (0, 0.25, 0.5, 0.75)])
