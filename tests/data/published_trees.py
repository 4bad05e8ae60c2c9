"""Published data sets in small: every folder and file name as in the download, the images drawn, 64 pixels wide."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from skrd4ad.digests import content_digest

SIDE = 64
Counts = tuple[int, int, int, int, int]
"""Images to learn from, held out, good and defective ones to test on, and masks."""


def picture(path: Path) -> None:
    """A picture that depends on its path below the root of the data set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(int(content_digest("/".join(path.parts[-6:]))[:12], 16))
    noise = rng.integers(90, 130, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def mask(path: Path, *, value: int = 255, at: int = 10, side: int = 6) -> None:
    """A mask with one square of defect; none with value 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[at : at + side, at : at + side] = value
    Image.fromarray(pixels).save(path)


@dataclass(frozen=True)
class Tree:
    """A data set: how it is drawn below a folder, and what must be found there."""

    layout: str
    fill: Callable[[Path], None]
    """Draws into the root of the data set."""
    counts: dict[str, Counts]
    root: str
    found: bool = True
    """Whether it is found without its name."""
    warnings: tuple[str, ...] = ()

    def draw(self, folder: Path) -> Path:
        """The root of the data set, drawn below a folder."""
        self.fill(folder / self.root)
        return folder / self.root


def _numbered(folder: Path, count: int, *, suffix: str = ".png", name: str = "{:03d}") -> list[Path]:
    paths = [folder / (name.format(number) + suffix) for number in range(count)]
    for path in paths:
        picture(path)
    return paths


def _mvtec(root: Path) -> None:
    _mvtec_class(root / "bottle", "broken_large")


def _mvtec_class(folder: Path, kind: str) -> None:
    _numbered(folder / "train" / "good", 4)
    _numbered(folder / "test" / "good", 2)
    for path in _numbered(folder / "test" / kind, 2):
        mask(folder / "ground_truth" / kind / f"{path.stem}_mask.png")


def _ad2(root: Path) -> None:
    folder = root / "can"
    _numbered(folder / "train" / "good", 4, name="{:03d}_regular")
    _numbered(folder / "validation" / "good", 2, name="{:03d}_regular")
    _numbered(folder / "test_public" / "good", 2, name="{:03d}_overexposed")
    for path in _numbered(folder / "test_public" / "bad", 2, name="{:03d}_regular"):
        mask(folder / "test_public" / "ground_truth" / "bad" / f"{path.stem}_mask.png")
    _numbered(folder / "test_private", 2, name="{:03d}_regular")
    _numbered(folder / "test_private_mixed", 2, name="{:03d}_mixed")


def _loco(root: Path) -> None:
    folder = root / "screw_bag"
    _numbered(folder / "train" / "good", 4)
    _numbered(folder / "validation" / "good", 2)
    _numbered(folder / "test" / "good", 2)
    for kind in ("logical_anomalies", "structural_anomalies"):
        for path in _numbered(folder / "test" / kind, 2):
            mask(folder / "ground_truth" / kind / path.stem / "000.png", value=255)
    mask(folder / "ground_truth" / "logical_anomalies" / "001" / "001.png", value=254, at=40)
    config = [
        {"defect_name": name, "pixel_value": value, "saturation_threshold": threshold, "relative_saturation": relative}
        for name, value, threshold, relative in (("missing_bolt", 255, 20, False), ("extra_bolt", 254, 0.5, True))
    ]
    (folder / "defects_config.json").write_text(json.dumps(config))


def _mvtec_3d(root: Path) -> None:
    folder = root / "bagel"
    (folder / "calibration").mkdir(parents=True)
    (folder / "calibration" / "camera_parameters.json").write_text("{}")
    for part, kind, count in (
        ("train", "good", 4),
        ("validation", "good", 2),
        ("test", "good", 2),
        ("test", "hole", 2),
        ("test", "crack", 2),
    ):
        for path in _numbered(folder / part / kind / "rgb", count):
            depth = folder / part / kind / "xyz" / f"{path.stem}.tiff"
            depth.parent.mkdir(exist_ok=True)
            Image.fromarray(np.zeros((SIDE, SIDE), np.float32)).save(depth)
            if part == "test":
                mask(folder / part / kind / "gt" / path.name, value=0 if kind == "good" else 255)


def _btad(root: Path) -> None:
    for name, suffix in (("01", ".bmp"), ("02", ".png"), ("03", ".bmp")):
        folder = root / name
        _numbered(folder / "train" / "ok", 4, suffix=suffix, name="{:04d}")
        _numbered(folder / "test" / "ok", 2, suffix=suffix, name="{:04d}")
        for path in _numbered(folder / "test" / "ko", 2, suffix=suffix, name="{:04d}"):
            mask(folder / "ground_truth" / "ko" / f"{path.stem}{'.bmp' if name == '03' else '.png'}")


def _mpdd(root: Path) -> None:
    _mvtec_class(root / "bracket_black", "hole")
    _mvtec_class(root / "tubes", "anomalous")


def _aebad(root: Path) -> None:
    single, video = root / "AeBAD_S", root / "AeBAD_V"
    for domain in ("background", "illumination", "view"):
        _numbered(single / "train" / "good" / domain, 2, name="IMG_{:04d}")
    for domain in ("same", "background", "illumination", "view"):
        _numbered(single / "test" / "good" / domain, 1, name="IMG_{:04d}")
        for kind in ("ablation", "breakdown", "fracture", "groove"):
            for path in _numbered(single / "test" / kind / domain, 1, name="IMG_{:04d}"):
                mask(single / "ground_truth" / kind / domain / path.name)
    for name in ("video1_train", "video2_train"):
        _numbered(video / "train" / "good" / name, 2, suffix=".jpg")
    for name in ("video1", "video2", "video3"):
        _numbered(video / "test" / name / "good", 1, suffix=".jpg")
        _numbered(video / "test" / name / "anomaly", 1, suffix=".jpg")


def _vad(root: Path) -> None:
    for folder, count in (
        ("train/good", 4),
        ("train/bad", 2),
        ("test/good", 2),
        ("test/bad", 2),
        ("test/bad_unseen_defects", 1),
    ):
        _numbered(root / folder, count)
    (root / "low_shot_train.json").write_text("{}")


def _visa(root: Path) -> None:
    rows = {name: ["object,split,label,image,mask"] for name in ("1cls", "2cls_highshot", "2cls_fewshot")}
    normal = _numbered(root / "candle/Data/Images/Normal", 8, suffix=".JPG", name="{:04d}")
    anomalies = _numbered(root / "candle/Data/Images/Anomaly", 4, suffix=".JPG")
    for path in anomalies:
        mask(root / f"candle/Data/Masks/Anomaly/{path.stem}.png", value=1)
    (root / "candle/image_anno.csv").write_text("image,label,mask\n")
    for name, n_train, n_train_defects in (("1cls", 6, 0), ("2cls_highshot", 5, 2), ("2cls_fewshot", 3, 1)):
        for number, path in enumerate(normal):
            split = "train" if number < n_train else "test"
            rows[name].append(f"candle,{split},normal,{path.relative_to(root).as_posix()},")
        for number, path in enumerate(anomalies):
            split, where = "train" if number < n_train_defects else "test", path.relative_to(root).as_posix()
            rows[name].append(f"candle,{split},anomaly,{where},candle/Data/Masks/Anomaly/{path.stem}.png")
    (root / "split_csv").mkdir()
    for name, lines in rows.items():
        (root / "split_csv" / f"{name}.csv").write_text("\n".join(lines) + "\n")


def _kolektor_sdd(root: Path) -> None:
    for item in range(1, 6):
        for part in range(3):
            picture(root / f"kos{item:02d}" / f"Part{part}.jpg")
            mask(root / f"kos{item:02d}" / f"Part{part}_label.bmp", value=255 if part == item % 3 else 0)


def _kolektor_sdd2(root: Path) -> None:
    for part, first, count in (("train", 10000, 8), ("test", 20000, 5)):
        for number in range(count):
            picture(root / part / f"{first + number}.png")
            mask(root / part / f"{first + number}_GT.png", value=255 if number % 4 == 0 else 0)


def _dagm(root: Path) -> None:
    for name in ("Class1", "Class2"):
        for part, first in (("Train", 576), ("Test", 1)):
            lines = ["1"]
            for number in range(first, first + 6):
                picture(root / name / part / f"{number:04d}.PNG")
                if number < first + 2:
                    mask(root / name / part / "Label" / f"{number:04d}_label.PNG")
                lines.append(f"{number}\t{int(number < first + 2)}\t{number:04d}.PNG\t0\t0")
            (root / name / part / "Label" / "Labels.txt").write_text("\n".join(lines))


def _real_iad(root: Path) -> None:
    images = root / "realiad_1024" / "audiojack"
    entries: dict[str, list[dict[str, str | None]]] = {"train": [], "test": []}
    for part, kind, number in (
        ("train", "OK", 1),
        ("train", "OK", 2),
        ("train", "OK", 5),
        ("test", "OK", 3),
        ("test", "HS", 1),
        ("test", "HS", 2),
    ):
        for view in ("C1", "C2"):
            place = "OK" if kind == "OK" else f"NG/{kind}"
            name = f"{place}/S{number:04d}/audiojack_{number:04d}_{place.replace('/', '_')}_{view}_20230922161820"
            picture(images / f"{name}.jpg")
            if kind != "OK":
                mask(images / f"{name}.png")
            entries[part].append({
                "category": "audiojack",
                "anomaly_class": kind,
                "image_path": f"{name}.jpg",
                "mask_path": None if kind == "OK" else f"{name}.png",
            })  # fmt: skip
    for split in ("realiad_jsons", "realiad_jsons_sv"):
        chosen = {
            part: [e for e in told if split == "realiad_jsons" or "_C1_" in str(e["image_path"])]
            for part, told in entries.items()
        }
        path = root / "realiad_jsons" / split / "audiojack.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"meta": {"normal_class": "OK", "prefix": "audiojack/"}, **chosen}))


TREES = (
    Tree("mvtec", _mvtec, {"bottle": (4, 0, 2, 2, 2)}, "mvtec_anomaly_detection"),
    Tree("mvtec-ad2", _ad2, {"can": (4, 2, 2, 2, 2)}, "mvtec_ad_2"),
    Tree("mvtec-loco", _loco, {"screw_bag": (4, 2, 2, 4, 5)}, "mvtec_loco_anomaly_detection"),
    Tree("mvtec-3d", _mvtec_3d, {"bagel": (4, 2, 2, 4, 4)}, "mvtec_3d_anomaly_detection"),
    Tree("btad", _btad, dict.fromkeys(("01", "02", "03"), (4, 0, 2, 2, 2)), "BTech_Dataset_transformed"),
    Tree("mpdd", _mpdd, dict.fromkeys(("bracket_black", "tubes"), (4, 0, 2, 2, 2)), "MPDD"),
    Tree("aebad", _aebad, {"AeBAD_S": (6, 0, 4, 16, 16), "AeBAD_V": (4, 0, 3, 3, 0)}, "AeBAD"),
    Tree("vad", _vad, {"vad": (4, 0, 2, 3, 0)}, "vad"),
    Tree("visa", _visa, {"candle": (6, 0, 2, 4, 4)}, "VisA"),
    Tree("visa-2cls-highshot", _visa, {"candle": (5, 0, 3, 2, 2)}, "VisA", found=False),
    Tree("visa-2cls-fewshot", _visa, {"candle": (3, 0, 5, 3, 3)}, "VisA", found=False),
    Tree("kolektor-sdd", _kolektor_sdd, {"KolektorSDD": (8, 0, 2, 5, 5)}, "KolektorSDD"),
    Tree("kolektor-sdd2", _kolektor_sdd2, {"KolektorSDD2": (6, 0, 3, 2, 2)}, "KolektorSDD2"),
    Tree("dagm", _dagm, dict.fromkeys(("Class1", "Class2"), (4, 0, 4, 2, 2)), "DAGM2007"),
    Tree("real-iad", _real_iad, {"audiojack": (6, 0, 2, 4, 4)}, "Real-IAD"),
    Tree(
        "real-iad-sv", _real_iad, {"audiojack": (3, 0, 1, 2, 2)}, "Real-IAD", found=False, warnings=("unused-images",)
    ),
)
