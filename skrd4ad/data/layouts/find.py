"""From a folder to its classes and samples, whatever the layout."""

from pathlib import Path

from skrd4ad.data.images.mask_values import check_mask_values
from skrd4ad.data.images.read import is_hidden, list_images
from skrd4ad.data.layouts import beside, mvtec, own, real_iad, visa
from skrd4ad.data.layouts.folders import all_images, is_mask_folder, subfolders
from skrd4ad.data.layouts.hints import Hints, read_hints
from skrd4ad.errors import LayoutError
from skrd4ad.format import plural
from skrd4ad.types import DatasetClass

_NEEDS = {
    "mvtec": "CLASS/train/good and CLASS/test/{good,DEFECT}, with masks in CLASS/ground_truth/DEFECT/NAME_mask.png; "
    "one class folder by itself will do",
    "mvtec-ad2": "CLASS/train/good, CLASS/validation/good and CLASS/test_public/{good,bad,ground_truth/bad}",
    "mvtec-loco": "as mvtec, with validation/good, test/{good,logical_anomalies,structural_anomalies}, "
    "ground_truth/TYPE/NAME/000.png and defects_config.json",
    "mvtec-3d": "as mvtec, with the images in rgb and the masks in gt of each folder",
    "btad": "01, 02, 03 with train/ok, test/{ok,ko} and ground_truth/ko",
    "mpdd": "as mvtec, with the classes bracket_black, bracket_brown, bracket_white, connector, metal_plate, tubes",
    "aebad": "AeBAD_S with train/good, test/TYPE/DOMAIN and ground_truth/TYPE/DOMAIN; AeBAD_V with train/good/VIDEO "
    "and test/VIDEO/{good,anomaly}",
    "vad": "train/{good,bad} and test/{good,bad,bad_unseen_defects}",
    "visa-mvtec": "VisA converted to the mvtec layout: the same folders",
    **{name: f"CLASS/Data/Images/{{Normal,Anomaly}} and split_csv/{file}" for name, file in visa.SPLIT_FILES.items()},
    **{name: f"realiad_1024/CLASS and {folder}/CLASS.json" for name, folder in real_iad.SPLIT_FOLDERS.items()},
    "kolektor-sdd": "kos01 and on, with Part0.jpg and Part0_label.bmp",
    "kolektor-sdd2": "train and test, with 10000.png and 10000_GT.png",
    "dagm": "Class1 and on, with Train and Test, and masks as Train/Label/0576_label.PNG",
    "folder": "good images directly in the folder; or a sub-folder named good, ok, normal, pass … beside sub-folders "
    "of defects, with masks in a folder named mask, ground_truth, label …, or beside the images as NAME_mask.png",
}
LAYOUTS = ("auto", *_NEEDS)
_MAX_NAMES = 8


def find_classes(root: Path, *, layout: str = "auto") -> list[DatasetClass]:
    """Classes of the data set in a folder, sorted by name. ``layout``: the text of
    :class:`skrd4ad.data.layouts.hints.Hints`. ``auto`` takes the first that fits, in the order of :func:`_detect`.

    Raises:
        LayoutError: nothing fits, or what fits is damaged.
    """
    hints = read_hints(layout)
    if hints.layout not in LAYOUTS:
        raise LayoutError(f"The layout is {hints.layout!r}; allowed: {', '.join(LAYOUTS)}.")
    check_mask_values(hints.mask_values)
    root = _existing_folder(root)
    kind = _detect(root, hints) if hints.layout == "auto" else hints.layout
    classes = _read(root, kind, hints) if kind is not None else []
    if not classes:
        raise LayoutError(_nothing_fits(root, hints.layout))
    if not any(cls.samples for cls in classes):
        raise LayoutError(
            f"{root}: the folders of the layout {kind} are there, but they hold no images{_deeper(root)}."
        )
    return sorted(classes, key=lambda cls: cls.name)


def known_layout(text: str) -> str:
    """The layout that a record names, or ``auto`` where this version does not know it."""
    try:
        return text if read_hints(text).layout in LAYOUTS else "auto"
    except LayoutError:
        return "auto"


def _existing_folder(root: Path) -> Path:
    try:
        # names of classes come from the path, so ".." is followed, but links keep the name they were given
        root = root.expanduser()
        root = root.resolve() if ".." in root.parts else root.absolute()
        if not root.exists():
            raise LayoutError(f"There is no folder {root}. Check the path.")
        if not root.is_dir():
            raise LayoutError(f"{root} is a file, not a folder. Give the data set's folder; unpack an archive first.")
        if all(is_hidden(p) for p in root.iterdir()):
            raise LayoutError(f"The folder {root} is empty. Put images there, at least good ones.")
    except (OSError, RuntimeError) as error:
        raise LayoutError(f"The folder {root} cannot be read ({error}). Check the path and its permissions.") from error
    return root


def _detect(root: Path, hints: Hints) -> str | None:
    if visa.fits(root):
        return "visa"
    if real_iad.fits(root):
        return "real-iad"
    if beside.dagm_roots(root):
        return "dagm"
    if beside.fits_kolektor_sdd2(root):
        return "kolektor-sdd2"
    if beside.fits_kolektor_sdd(root):
        return "kolektor-sdd"
    return mvtec.family_of(root) or ("folder" if own.fits(root, hints) else None)


def _read(root: Path, kind: str, hints: Hints) -> list[DatasetClass]:
    """Classes of a folder in the named layout; none where it does not fit."""
    if kind in mvtec.FAMILIES:
        return mvtec.read_classes(root, kind, hints)
    if kind in visa.SPLIT_FILES:
        return visa.read_classes(root, kind, hints) if visa.fits(root) else []
    if kind in real_iad.SPLIT_FOLDERS:
        return real_iad.read_classes(root, kind, hints) if real_iad.fits(root, kind) else []
    if kind == "kolektor-sdd":
        return [beside.read_kolektor_sdd(root, hints)] if beside.fits_kolektor_sdd(root) else []
    if kind == "kolektor-sdd2":
        fits = beside.fits_kolektor_sdd2(root)
        return [beside.read_split_class(root, dataset=root.name, layout=kind, hints=hints)] if fits else []
    if kind == "dagm":
        return [
            beside.read_split_class(p, dataset=root.name if p != root else root.parent.name, layout=kind, hints=hints)
            for p in beside.dagm_roots(root)
        ]
    return [own.read_class(root, hints)] if own.fits(root, hints) else []


def _nothing_fits(root: Path, layout: str) -> str:
    names = [p.name for p in subfolders(root)]
    shown = ", ".join(names[:_MAX_NAMES]) + (f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else "")
    found = f"{len(list_images(root))} images directly in it; sub-folders: {shown or 'none'}{_deeper(root)}"
    wanted = _NEEDS if layout == "auto" else {layout: _NEEDS[layout]}
    needs = "\n".join(f"  {name}: {need}" for name, need in wanted.items())
    which = "no known layout" if layout == "auto" else f"not in the layout {layout}"
    return f"{root}: {which}. Found: {found}.\nNeeded:\n{needs}"


def _deeper(root: Path) -> str:
    """How many images lie below a folder, with an example, and the way on; nothing when there are none."""
    below = [path for p in subfolders(root) if not is_mask_folder(p) for path in all_images(p)]
    if not below:
        return ""
    return (
        f"; {plural(len(below), 'image')} further down, such as {below[0].relative_to(root).as_posix()}: --good NAME "
        "says which folder holds good parts, --layout NAME which layout it is"
    )
