import numpy as np

from skrd4ad.inference.predictions import Inspection
from skrd4ad.ui.inspect.kept import KeptInspections


def inspection(name: str, side: int = 10) -> Inspection:
    return Inspection(name=name, image=np.zeros((side, side, 3), np.uint8))


def test_what_nobody_asked_for_the_longest_goes_first() -> None:
    kept = KeptInspections(most_bytes=600)
    for name in "ab":
        kept.put(name, inspection(name))
    kept.get("a")
    kept.put("c", inspection("c"))
    assert [each and each.name for each in map(kept.get, "abc")] == ["a", None, "c"]


def test_one_is_kept_whatever_its_size_and_a_new_one_takes_the_place_of_the_old() -> None:
    kept = KeptInspections(most_bytes=600)
    kept.put("a", inspection("a", side=100))
    kept.put("a", inspection("again"))
    kept.put("b", inspection("b"))
    assert [each and each.name for each in map(kept.get, "ab")] == ["again", "b"]
