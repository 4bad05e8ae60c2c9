import io

import numpy as np
import pytest
from PIL import Image

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.ui.components.browser import SharedValue
from skrd4ad.ui.components.envelope import unpack
from skrd4ad.ui.components.gallery import THUMBNAIL_SIDE, GalleryItem, _check, _payload, gallery, thumbnail
from skrd4ad.ui.theme import VERDICTS

START: SharedValue[str | None] = SharedValue(sent="a", turn=1, choice=None)


def item(name: str = "a", **changes) -> GalleryItem:
    settings = {"id": name, "name": f"{name}.png", "thumbnail": name.encode(), "score": 0.8234, "verdict": "NG"}
    return GalleryItem(**(settings | changes))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((320, 640), (160, 80)), ((1000, 500), (80, 160)), ((40, 30), (30, 40)), ((2, 4000), (160, 1))],
)
def test_thumbnails_are_small_jpegs_that_keep_the_proportions(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (200, 80, 40), np.uint8)
    picture = Image.open(io.BytesIO(thumbnail(image)))
    assert (picture.format, picture.size) == ("JPEG", size)
    assert max(picture.size) <= THUMBNAIL_SIDE
    assert np.abs(np.asarray(picture).astype(int) - (200, 80, 40)).max() <= 4


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), "u1")]
)
def test_what_is_no_image_has_no_thumbnail(image: np.ndarray) -> None:
    with pytest.raises(DataError, match="allowed"):
        thumbnail(image)


def test_tiles_carry_the_score_as_it_is_shown_and_their_own_picture() -> None:
    broken = item("b", thumbnail=b"", score=None, verdict=None, error="b.png is cut off.")
    header, blobs = unpack(_payload([item(truth="bent"), broken], START))
    first, second = header["items"]
    assert first == {
        "id": "a",
        "name": "a.png",
        "score": "0.823",
        "verdict": "NG",
        "truth": "bent",
        "mistake": None,
        "error": None,
    }
    assert (second["score"], second["verdict"], second["error"]) == (None, None, "b.png is cut off.")
    assert blobs == {"0": b"a", "1": b""}
    assert {name: look["shape"] for name, look in header["verdicts"].items()} == {
        name: look.shape for name, look in VERDICTS.items()
    }


@pytest.mark.parametrize(
    ("truth", "verdict", "mistake"),
    [
        ("good", "NG", "false reject"),
        ("good", "OK", None),
        ("good", "REVIEW", None),
        ("bent", "OK", "escape"),
        ("bent", "NG", None),
        ("bent", "REVIEW", None),
        ("bent", None, None),
        (None, "NG", None),
        (None, "OK", None),
    ],
)
def test_a_verdict_against_the_label_has_a_word(truth: str | None, verdict: str | None, mistake: str | None) -> None:
    header, _ = unpack(_payload([item(truth=truth, verdict=verdict)], START))
    assert header["items"][0]["mistake"] == mistake


@pytest.mark.parametrize("change", [{"thumbnail": b"x"}, {"score": 0.9}, {"verdict": "OK"}, {"truth": "bent"}])
def test_the_list_has_a_new_name_when_a_tile_changes_and_only_then(change: dict) -> None:
    def name(**changes) -> str:
        return unpack(_payload([item("a"), item("b", **changes)], START))[0]["list"]

    assert name() == name()
    assert name(**change) != name()


def test_a_choice_of_the_user_is_not_sent_back() -> None:
    items = [item("a"), item("b")]
    before = _payload(items, START)
    chosen = START.follow("a", ("b", 1))
    assert chosen.shown == "b"
    adopted = chosen.follow("b", ("b", 1))
    assert adopted.shown == "b"
    assert _payload(items, chosen) == _payload(items, adopted) == before


def test_python_overrules_a_choice_by_asking_for_another_tile() -> None:
    choice = ("b", 1)
    adopted = START.follow("a", choice).follow("b", choice)
    moved = adopted.follow("a", choice)
    assert moved.follow("a", choice) == moved
    assert (moved.shown, moved.turn) == ("a", 2)
    again = moved.follow("b", choice)
    assert (again.shown, again.turn) == ("b", 3), "the old choice of b must not count"


def test_a_choice_wins_over_a_page_that_is_one_choice_behind() -> None:
    first = START.follow("a", ("b", 1))
    second = first.follow("b", ("c", 1))
    assert (second.shown, second.turn) == ("c", 1)
    assert second.follow("c", ("c", 1)).turn == 1


def test_a_page_without_an_opinion_leaves_the_user_alone() -> None:
    following = START
    for _ in range(3):
        following = following.follow(None, ("b", 1))
    assert (following.shown, following.turn) == ("b", 1)


def test_a_gallery_that_comes_back_to_the_page_is_told_the_selection() -> None:
    chosen = START.follow("a", ("b", 1))
    back = chosen.follow("b", None)
    assert (back.shown, back.sent, back.turn) == ("b", "b", 2)


@pytest.mark.parametrize(
    ("items", "selected", "error", "words"),
    [
        ([item("a"), item("a")], None, DataError, "'a'"),
        ([item("a")], "b", ConfigError, "'b'"),
        ([item("a", score=float("nan"))], None, DataError, "finite"),
        ([item("a", score=None)], None, DataError, "needs a score"),
        ([item("a", verdict="bad")], None, DataError, "OK, REVIEW, NG"),
    ],
)
def test_wrong_input_is_refused(items: list, selected: str | None, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        _check(items, selected)
    with pytest.raises(error, match=words):
        gallery(items, selected=selected, key="refused")


def test_no_items_are_allowed() -> None:
    _check([], None)
    assert unpack(_payload([], START))[0]["items"] == []
