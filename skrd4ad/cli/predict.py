"""``skrd4ad predict``: look at images with a model."""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from skrd4ad.cli.arguments import add_model, add_runtime, add_weights, open_model
from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe
from skrd4ad.data.images.archives import ZipEntry, list_zip, read_zip
from skrd4ad.errors import ConfigError, ImageError
from skrd4ad.inference.predictions import Inspection
from skrd4ad.inference.tiling import LARGER, Tiling
from skrd4ad.model_folder.info import GUARDS_OFF, has_guards
from skrd4ad.parallel import ordered_map
from skrd4ad.services.inspection.ad2_submission import private_images, write_submission
from skrd4ad.services.inspection.input_files import distinct, expand_inputs, output_names
from skrd4ad.services.inspection.inspect import inspect_images, to_record, write_outputs
from skrd4ad.types import OUTCOMES, Outcome, parse_pitch

WRITERS = min(4, os.cpu_count() or 1)


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="For each image the raw map (NAME_map.npy, float32), an overlay and a mask (NAME_overlay.png, "
        "NAME_mask.png) are written. An unreadable image gets an entry with its error; one unlike the training images "
        "(out of focus, wrong light, wrong part) the verdict CANNOT JUDGE and the reason. The exit code is 1 when "
        "there was such an image, and 0 when every image was judged.",
        example="predict --model checkpoints/mvtec/bottle/RUN photos --out results --json",
        run=run,
    )
    add_model(parser)
    parser.add_argument("inputs", type=Path, nargs="*", metavar="IMAGE|FOLDER", help="images, and folders of images")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--zip", dest="zips", type=Path, action="append", default=[], metavar="FILE.zip", help="images in a ZIP file"
    )
    parser.add_argument(
        "--tiled",
        choices=get_args(Tiling),
        default="auto",
        help="see large images in tiles at the scale of the training images: auto when the shorter side is over "
        f"{LARGER} times theirs and tiles look more like them than the whole image does (default: auto)",
    )
    parser.add_argument(
        "--mm-per-pixel",
        type=parse_pitch,
        metavar="X[xY]",
        help="scale of the images, such as 0.05, or 0.05x0.1 in x and y: regions get area_mm2, box_mm, centroid_mm",
    )
    parser.add_argument(
        "--ad2-submission",
        type=Path,
        metavar="DIR",
        help="folder of a class of MVTec AD 2: write its private test sets as the benchmark server takes them, alone",
    )
    parser.add_argument("--threshold", type=float, metavar="T", help="NG above this score (default: the model's)")
    add_runtime(parser)
    add_weights(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Inspect the images."""
    if arguments.ad2_submission is not None:
        return _submit(arguments, output)
    paths = expand_inputs(arguments.inputs, leave_out=arguments.out)
    zips = [(file, list_zip(file)) for file in arguments.zips]
    if not paths and not any(entries for _, entries in zips):
        raise ConfigError("There is nothing to inspect; name images, folders of images, or --zip FILE.zip with images.")
    packed = [f"{file.stem}/{PurePosixPath(e.name).with_suffix('')}" for file, entries in zips for e in entries]
    names = distinct([*output_names(paths), *packed])
    predictor = open_model(arguments, paths, output)
    if predictor.info.calibration is None and arguments.threshold is None:
        output.note("This model has no thresholds: scores only, without verdicts, regions and masks. Give --threshold.")
    if not has_guards(predictor.info.folder):
        output.note(f"{GUARDS_OFF}.")
    counts: Counter[Outcome] = Counter()
    with output.progress("inspecting") as task, output.list_in_document() as records:
        found = inspect_images(predictor, _sources(paths, zips), threshold=arguments.threshold, tiling=arguments.tiled)
        # compressing and writing pictures takes as long as scoring them
        named = zip(found, names, strict=True)
        written = ordered_map(_writer(arguments), named, workers=WRITERS, ahead=2 * WRITERS)
        for done, (outcome, record) in enumerate(written, start=1):
            records.append(record)
            counts[outcome] += 1
            output.say(_line(record))
            task.report(done, len(names))
        calibration = predictor.info.calibration if arguments.threshold is None else None
        version = None if calibration is None else calibration.version
        document = {"model": str(arguments.model), "runtime": predictor.runtime, "calibration": version}
        records.write({**document, "counts": {name: counts[name] for name in OUTCOMES}}, name="images")
    if len(names) > 1:
        output.note(", ".join(f"{count} {name}" for name in OUTCOMES if (count := counts[name])) + ".")
    return NO if counts["CANNOT JUDGE"] or counts["UNREADABLE"] else DONE


def _submit(arguments: argparse.Namespace, output: Output) -> int:
    """Write what the benchmark server of MVTec AD 2 takes."""
    if arguments.inputs or arguments.zips:
        raise ConfigError("With --ad2-submission DIR there are no other images; leave them out.")
    folder = arguments.ad2_submission.absolute()
    images = private_images(folder)
    predictor = open_model(arguments, images, output)
    with output.progress("inspecting") as task:
        found = inspect_images(
            predictor, _sources(images, ()), threshold=arguments.threshold, tiling=arguments.tiled, task=task
        )
        for image, inspection in zip(images, found, strict=True):
            write_submission(inspection, arguments.out, image=image, class_folder=folder)
    output.say(f"{len(images)} maps and thresholded maps in {arguments.out}")
    output.document({"model": str(arguments.model), "folder": str(arguments.out.absolute()), "images": len(images)})
    return DONE


def _writer(arguments: argparse.Namespace) -> Callable[[tuple[Inspection, str]], tuple[Outcome, dict[str, Any]]]:
    def write(named: tuple[Inspection, str]) -> tuple[Outcome, dict[str, Any]]:
        inspection, name = named
        files = {} if inspection.error is not None else write_outputs(inspection, arguments.out, name=name)
        record = to_record(inspection, mm_per_pixel=arguments.mm_per_pixel)
        return inspection.outcome, record | {"files": {kind: str(file) for kind, file in files.items()}}

    return write


def _sources(
    paths: Sequence[Path], zips: Sequence[tuple[Path, list[ZipEntry]]]
) -> Iterator[tuple[str, Path | bytes | ImageError]]:
    """Files, then the images of ZIP files; each with its name, read when it is its turn."""
    yield from ((str(path), path) for path in paths)
    for file, entries in zips:
        yield from ((f"{file}/{entry.name}", content) for entry, content in read_zip(file, entries))


def _line(record: dict[str, Any]) -> str:
    if record["error"] is not None:
        return f"unreadable  {record['error']}"
    regions = f"  {len(record['regions'])} regions" if record["regions"] else ""
    tiled = f"  {record['view']}" if record["view"].startswith("tiled") else ""
    refusal = f"  {record['refusal']}" if record["refusal"] else ""
    return f"{record['verdict'] or '-':<13}{record['score']:.4f}  {record['path']}{regions}{tiled}{refusal}"
