from dataclasses import replace

from skrd4ad.digests import file_digest
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.seen_images import data_digest, learnt_and_held_out, seen_images_of, split_holdout
from skrd4ad.types import DatasetClass


def contents(samples: object) -> set[str]:
    return {file_digest(sample.path) for sample in samples}  # type: ignore[attr-defined]


def test_the_split_of_training_is_found_again(info: ModelInfo, disc: DatasetClass) -> None:
    learn, held_out = split_holdout(disc.train, share=0.25, seed=info.train.seed)  # type: ignore[union-attr]
    seen = seen_images_of(info, disc)
    assert seen.is_exact
    assert (seen.learnt, seen.held_out) == (contents(learn), contents(held_out))
    assert (seen.train, seen.tests) == (contents(disc.train), contents(disc.test))


def test_of_data_that_changed_every_training_image_counts_as_learnt(info: ModelInfo, disc: DatasetClass) -> None:
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
    assert info.train is not None
    whole = replace(info, train=replace(info.train, holdout=0.0, selection="last"))
    fewer = replace(disc, samples=disc.train[:4])
    assert not seen_images_of(whole, fewer).is_exact
    trained = replace(whole, data={**info.data, "digest": data_digest(fewer.train)})
    seen = seen_images_of(trained, fewer)
    assert seen.is_exact and seen.learnt == contents(fewer.train) and not seen.held_out
