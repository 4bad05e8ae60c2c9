from collections import Counter
from pathlib import Path

from skrd4ad.types import Sample
from skrd4ad.ui.inspect.sources import mixed


def samples(**counts: int) -> list[Sample]:
    return [
        Sample(path=Path(f"{kind}/{index}.png"), split="test", label=int(kind != "good"), defect_type=kind)
        for kind, count in counts.items()
        for index in range(count)
    ]


def test_types_take_turns_and_defects_come_first() -> None:
    chosen = mixed(samples(good=9, dent=9, scratch=9), 7)
    assert [s.defect_type for s in chosen] == ["dent", "scratch", "good"] * 2 + ["dent"]


def test_each_type_keeps_its_own_order_and_nothing_comes_twice() -> None:
    chosen = mixed(samples(good=4, dent=3), 7)
    assert [s.path.stem for s in chosen if s.label] == ["0", "1", "2"]
    assert [s.path.stem for s in chosen if not s.label] == ["0", "1", "2", "3"]
    assert len({s.path for s in chosen}) == 7


def test_a_type_that_runs_out_leaves_its_turns_to_the_others() -> None:
    chosen = mixed(samples(good=10, dent=2), 8)
    assert Counter(s.defect_type for s in chosen) == {"dent": 2, "good": 6}


def test_there_are_never_more_than_there_are() -> None:
    assert mixed([], 5) == []
    assert len(mixed(samples(good=2), 5)) == 2
