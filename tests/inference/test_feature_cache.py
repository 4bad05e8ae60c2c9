from pathlib import Path

import numpy as np
import pytest
import torch

from skrd4ad.data.dataset import load_images
from skrd4ad.errors import ConfigError, ImageError, StorageError
from skrd4ad.inference.feature_cache import cache_features
from skrd4ad.inference.network import tensor_of
from skrd4ad.models.teachers import Teacher
from skrd4ad.scratch import memory_budget
from skrd4ad.task import Status, Task
from skrd4ad.types import GOOD, DatasetClass, Sample


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("budget", [0, 2**30])
def test_the_cache_holds_what_the_teacher_says_of_each_image(lite0: Teacher, disc: DatasetClass, budget: int) -> None:
    samples = disc.test
    with torch.inference_mode():
        expected = lite0(tensor_of(load_images(samples, 64)))
    with cache_features(lite0, samples, image_size=64, budget=budget) as cache:
        assert len(cache) == len(samples)
        places = torch.tensor([3, 0, 11])
        for stored, computed in zip(cache.batch(places), expected, strict=True):
            assert torch.allclose(stored, computed[places], rtol=1e-4, atol=1e-4)


def test_features_on_disk_equal_those_in_memory_bit_for_bit(lite0: Teacher, disc: DatasetClass) -> None:
    everything = torch.arange(len(disc.train))
    with (
        cache_features(lite0, disc.train, image_size=64, budget=0) as on_disk,
        cache_features(lite0, disc.train, image_size=64, budget=2**30) as in_memory,
    ):
        assert on_disk.mapped
        assert not in_memory.mapped
        for mapped, plain in zip(on_disk.batch(everything), in_memory.batch(everything), strict=True):
            assert torch.equal(mapped, plain)


def test_the_budget_is_taken_to_the_byte(lite0: Teacher, disc: DatasetClass) -> None:
    with torch.inference_mode():
        needed = sum(4 * f.numel() for f in lite0(tensor_of(load_images(disc.train, 64))))
    for budget, mapped in ((needed, False), (needed - 1, True)):
        with cache_features(lite0, disc.train, image_size=64, budget=budget) as cache:
            assert cache.mapped is mapped


def test_no_file_is_left_behind_while_open_or_after(lite0: Teacher, disc: DatasetClass, home: Path) -> None:
    with cache_features(lite0, disc.train, image_size=64, budget=0):
        assert files_below(home) == []  # without a name, so that killing the process frees the space too
    assert files_below(home) == []


def test_an_unreadable_image_is_named_and_leaves_no_file(
    lite0: Teacher, disc: DatasetClass, home: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    samples = [*disc.train, Sample(path=broken, split="train", label=0, defect_type=GOOD)]
    with pytest.raises(ImageError, match=r"broken\.png"):
        cache_features(lite0, samples, image_size=64, budget=0)
    assert files_below(home) == []


def test_the_observer_may_stop_the_reading(lite0: Teacher, disc: DatasetClass) -> None:
    def stop(_: Status) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_features(lite0, disc.train, image_size=64, task=Task(show=stop), budget=0)


def test_images_done_are_counted_up_to_their_number(lite0: Teacher, disc: DatasetClass) -> None:
    counted: list[int] = []
    samples = disc.train + disc.test
    with cache_features(lite0, samples, image_size=64, task=Task(show=lambda at: counted.append(at.done))):
        assert counted == sorted(set(counted))
        assert counted[-1] == len(samples)


@pytest.mark.parametrize("given", ["", "much", "-1", "1.5", "²", "1 GB"])
def test_a_wrong_cache_size_is_refused_with_what_is_allowed(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_CACHE_MB", given)
    with pytest.raises(ConfigError, match=r"SKRD4AD_CACHE_MB is .*whole number of megabytes"):
        memory_budget()


def test_the_cache_size_is_in_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_CACHE_MB", "3")
    assert memory_budget() == 3 * 1024 * 1024


def test_the_variable_decides_without_a_budget(
    lite0: Teacher, disc: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKRD4AD_CACHE_MB", "0")
    with cache_features(lite0, disc.train, image_size=64) as cache:
        assert cache.mapped


def test_a_disk_that_is_too_small_is_said_before_reading(
    lite0: Teacher, disc: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(StorageError, match="SKRD4AD_HOME to a larger disk"):
        cache_features(lite0, disc.train, image_size=64, task=Task(show=pytest.fail), budget=0)


def test_a_disk_that_fills_up_is_an_error_and_not_a_crash(
    lite0: Teacher, disc: DatasetClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(StorageError, match="No space left on device"):
        cache_features(lite0, disc.train, image_size=64, task=Task(show=pytest.fail), budget=0)


def test_a_workspace_that_is_a_file_is_said_with_the_remedy(lite0: Teacher, disc: DatasetClass, home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(StorageError, match="SKRD4AD_HOME"):
        cache_features(lite0, disc.train, image_size=64, task=Task(show=pytest.fail), budget=0)


def test_a_batch_is_a_copy_that_training_may_change(lite0: Teacher, disc: DatasetClass) -> None:
    with cache_features(lite0, disc.train, image_size=64, budget=0) as cache:
        before = cache.batch(torch.tensor([0]))[0].clone()
        cache.batch(torch.tensor([0]))[0].zero_()
        assert np.array_equal(cache.batch(torch.tensor([0]))[0].numpy(), before.numpy())


@pytest.mark.parametrize("budget", [0, 2**30])
def test_features_in_bf16_take_half_the_room_and_come_in_order(lite0: Teacher, disc: DatasetClass, budget: int) -> None:
    order = [torch.tensor([5, 1]), torch.tensor([0]), torch.tensor([7, 2, 3])]
    with (
        cache_features(lite0, disc.train, image_size=64) as exact,
        cache_features(lite0, disc.train, image_size=64, budget=budget, dtype=torch.bfloat16) as rounded,
    ):
        assert rounded.mapped is (budget == 0)
        read = list(rounded.batches(order))
        assert len(read) == 3
        for places, features in zip(order, read, strict=True):
            for kept, expected in zip(features, exact.batch(places), strict=True):
                assert kept.dtype == torch.bfloat16
                assert torch.equal(kept, expected.bfloat16())
        assert rounded.batch(order[0])[0].dtype == torch.float32
        assert list(rounded.batches([])) == []
