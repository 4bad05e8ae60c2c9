from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.annotate import item_of
from skrd4ad.services.labelling.queue import counts_of, items_of, names_of, order_of_queue
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_queue import QueueItem
from tests.label_world import ALL, picture, put


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[QueueItem]]:
    """Four images; what the data set says of them is in no order."""
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    known = ("hole", "good", None, "bent")
    yield [put(f"{i}.png", picture(i), known_type=kind) for i, kind in enumerate(known)]
    workspace_database().close()


def test_some_images_come_in_the_order_that_is_asked_for_whatever_the_filter(parts: list[QueueItem]) -> None:
    annotate.decide(parts[2], "good", reviewer="Anna")
    wanted = replace(ALL, labels=("none",))
    order = order_of_queue(wanted, order="newest")
    assert order == [parts[3].digest, parts[1].digest, parts[0].digest]
    asked = [parts[2].digest, "f" * 64, parts[0].digest]
    assert items_of(wanted, asked) == [item_of(ALL, parts[2].digest), parts[0]]
    assert items_of(wanted, []) == []
    assert counts_of(wanted).total == 3 and counts_of(ALL).labels == {"none": 3, "good": 1}


def test_a_type_keeps_its_place_when_others_are_added(parts: list[QueueItem]) -> None:
    assert names_of(ALL) == (["bent", "hole"], [])
    annotate.decide(parts[0], "defect", reviewer="Bob", defect_type="scratch")
    annotate.decide(parts[1], "defect", reviewer="Anna", defect_type="hole")
    annotate.decide(parts[2], "defect", reviewer="Anna", defect_type="dent")
    annotate.decide(parts[3], "defect", reviewer="Anna", defect_type="scratch")
    assert names_of(ALL) == (["scratch", "hole", "dent", "bent"], ["Anna", "Bob"])
    annotate.decide(item_of(ALL, parts[2].digest), "good", reviewer="Bob")  # nobody says dent any more
    assert names_of(ALL) == (["scratch", "hole", "bent"], ["Anna", "Bob"])
    assert names_of(replace(ALL, class_name="other")) == ([], [])
