from dataclasses import replace

import pytest

from skrd4ad.data.sources import open_dataset
from skrd4ad.digests import file_digest
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import data_digest, learnt_and_held_out, seen_images_of, split_holdout
from skrd4ad.types import DatasetClass


def contents(samples: object) -> set[str]:
    return {file_digest(sample.path) for sample in samples}  # type: ignore[attr-defined]


def of_an_earlier_version(info: ModelInfo) -> ModelInfo:
    """The model without what earlier versions did not record."""
    return replace(info, data={k: v for k, v in info.data.items() if k not in ("learnt", "held_out")})


@pytest.mark.parametrize("change", ["one more", "renamed", "moved to test"])
def test_held_out_images_are_found_by_content_whatever_became_of_the_data(
    info: ModelInfo, own_disc: DatasetClass, change: str
) -> None:
    _, held_out = split_holdout(own_disc.train, share=0.25, seed=info.train.seed)  # type: ignore[union-attr]
    good = own_disc.root / "train" / "good"
    if change == "one more":
        (good / "new.png").write_bytes(own_disc.test[0].path.read_bytes()[:-1] + b"!")
    elif change == "renamed":
        held_out[0].path.rename(good / "zzz.png")
    else:
        held_out[0].path.rename(own_disc.root / "test" / "good" / "moved.png")
    data = open_dataset(own_disc.root)[0]
    learnt, found = learnt_and_held_out(info, data)
    assert len(found) == 3 and len(learnt) == 9 == len(info.data["learnt"])
    assert {file_digest(s.path) for s in found} == set(info.data["held_out"])
    assert seen_images_of(info, data).is_exact


def test_held_out_images_that_are_gone_are_missed(info: ModelInfo, disc: DatasetClass) -> None:
    _, held_out = split_holdout(disc.train, share=0.25, seed=info.train.seed)  # type: ignore[union-attr]
    fewer = replace(disc, samples=tuple(s for s in disc.samples if s != held_out[0]))
    assert learnt_and_held_out(info, fewer)[1] == list(held_out[1:])


def test_validation_images_of_the_data_set_are_those_held_out(disc: DatasetClass) -> None:
    named = [replace(s, held_out=s in disc.train[:2]) for s in disc.train]
    assert split_holdout(named, share=0.5, seed=1) == (tuple(named[2:]), tuple(named[:2]))
    assert split_holdout(named, share=0, seed=1) == (tuple(named), ())


def test_the_split_of_training_is_found_again(info: ModelInfo, disc: DatasetClass) -> None:
    learn, held_out = split_holdout(disc.train, share=0.25, seed=info.train.seed)  # type: ignore[union-attr]
    seen = seen_images_of(of_an_earlier_version(info), disc)
    assert seen == seen_images_of(info, disc) and seen.is_exact
    assert (seen.learnt, seen.held_out) == (contents(learn), contents(held_out))
    assert (seen.train, seen.tests) == (contents(disc.train), contents(disc.test))


def test_of_data_that_changed_every_training_image_counts_as_learnt(info: ModelInfo, disc: DatasetClass) -> None:
    info = of_an_earlier_version(info)
    fewer = replace(disc, samples=tuple(s for s in disc.samples if s != disc.train[0]))
    seen = seen_images_of(info, fewer)
    assert not seen.is_exact and not seen.held_out
    assert seen.learnt == contents(disc.train[1:])
    nothing = seen_images_of(info, None)
    assert not nothing.is_exact and not (nothing.learnt | nothing.train | nothing.tests)


def test_a_model_that_records_its_images_needs_no_data(info: ModelInfo, disc: DatasetClass) -> None:
    held_out = file_digest(disc.train[0].path)
    retrained = replace(info, data={**info.data, "learnt": ["a" * 64], "held_out": [held_out, "b" * 64]})
    for data in (None, disc):
        seen = seen_images_of(retrained, data)
        assert seen.is_exact and seen.learnt == {"a" * 64} and seen.held_out == {held_out, "b" * 64}
    assert learnt_and_held_out(retrained, disc) == ({"a" * 64}, [disc.train[0]])


def test_a_training_that_held_nothing_out_is_known_too(info: ModelInfo, disc: DatasetClass) -> None:
    info = of_an_earlier_version(info)
    assert info.train is not None
    whole = replace(info, train=replace(info.train, holdout=0.0, selection="last"))
    fewer = replace(disc, samples=disc.train[:4])
    assert not seen_images_of(whole, fewer).is_exact
    trained = replace(whole, data={**info.data, "digest": data_digest(fewer.train)})
    seen = seen_images_of(trained, fewer)
    assert seen.is_exact and seen.learnt == contents(fewer.train) and not seen.held_out
