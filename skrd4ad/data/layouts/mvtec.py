"""The MVTec AD layout, and VAD's, which is one class of it without masks and with defects in train."""

from pathlib import Path

from skrd4ad.data.layouts.folders import ClassFolders, child, defect_type_of, is_good, samples_in, subfolders
from skrd4ad.types import GOOD, DatasetClass, Sample


def is_class(folder: Path) -> bool:
    """Whether a folder has sub-folders in ``train`` or ``test``."""
    return bool(subfolders(child(folder, "train")) or subfolders(child(folder, "test")))


def is_vad(folder: Path) -> bool:
    """Whether ``train`` holds exactly good and bad, and there are no masks."""
    names = {p.name.casefold() for p in subfolders(child(folder, "train"))}
    return names == {GOOD, "bad"} and not child(folder, "ground_truth").is_dir()


def read_class(folder: Path, *, dataset: str, layout: str) -> DatasetClass:
    """Class from ``train/good``, ``test/{good,DEFECT}`` and ``ground_truth/DEFECT``. Other folders in ``train`` give no
    samples: ``class_folders`` names them."""
    truth = child(folder, "ground_truth")
    samples: list[Sample] = []
    for good in filter(is_good, subfolders(child(folder, "train"))):
        samples += samples_in(good, split="train")
    for kind in sorted(subfolders(child(folder, "test")), key=lambda p: not is_good(p)):
        samples += samples_in(kind, split="test", masks=[child(truth, kind.name)])
    return DatasetClass(dataset=dataset, name=folder.name, root=folder, layout=layout, samples=tuple(samples))


def class_folders(cls: DatasetClass) -> ClassFolders:
    """Folders of a class in the MVTec or VAD layout."""
    train, test, truth = (child(cls.root, name) for name in ("train", "test", "ground_truth"))
    return ClassFolders(
        images=(*subfolders(train), *subfolders(test)),
        masks=tuple((masks, (child(test, masks.name),)) for masks in subfolders(truth)),
        train_defects=tuple(p for p in subfolders(train) if defect_type_of(p) != GOOD),
        containers=tuple(p for p in (cls.root, train, test, truth) if p.is_dir()),
    )
