"""What a report says, as texts and rows; the template only lays them out."""

import math
from dataclasses import dataclass

from skrd4ad.format import format_apart, format_number, format_rate, minute, plural
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.services.reports.collect import BatchReport, Part
from skrd4ad.types import OUTCOMES, Outcome, Pitch, Region, pitch_xy, size_option

Facts = tuple[tuple[str, str], ...]
"""Names and what they are."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """An outcome as a text, a colour and a shape, so that it never rests on colour alone."""

    meaning: str
    colour: str
    shape: tuple[Point, ...]
    """Polygon in a square from 0 to 1, y downwards."""


def _ring(corners: int) -> tuple[Point, ...]:
    turns = (2 * math.pi * corner / corners for corner in range(corners))
    return tuple((0.5 + 0.5 * math.cos(turn), 0.5 + 0.5 * math.sin(turn)) for turn in turns)


_BAR = ((0.0, 0.35), (1.0, 0.35), (1.0, 0.65), (0.0, 0.65))
_CROSS = tuple(
    (x / 10, y / 10)
    for x, y in ((2, 0), (5, 3), (8, 0), (10, 2), (7, 5), (10, 8), (8, 10), (5, 7), (2, 10), (0, 8), (3, 5), (0, 2))
)
_TRIANGLE = ((0.5, 0.05), (1.0, 0.95), (0.0, 0.95))
_DIAMOND = ((0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5))
_SQUARE = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))
LOOKS: dict[Outcome, Look] = {
    "NG": Look("rejected", "#cb4a0c", _TRIANGLE),
    "REVIEW": Look("a person decides", "#b47a00", _DIAMOND),
    "OK": Look("good", "#00916e", _ring(32)),
    "CANNOT JUDGE": Look("unlike the training images", "#8465bd", _SQUARE),
    "NO LIMIT": Look("score without a verdict", "#566267", _BAR),
    "UNREADABLE": Look("no usable image", "#566267", _CROSS),
}
SHORT_DIGEST = 16
METHODS = {
    "split-conformal": "quantile of held-out good images (split conformal)",
    "f1-max": "highest F1 on labelled images",
    "balanced-accuracy": "highest balanced accuracy on labelled images",
    "least-cost": "least expected cost",
    "manual": "set by hand",
}

TABLE_COLUMNS = ("Verdict", "No.", "Score", "Limit", "Regions", "Area", "Name")
GALLERY_TITLE = "Parts that need a decision"
NO_REGIONS = "No region reaches the smallest area that counts."
DECISION_NOTE = (
    "The verdicts are a model's, under the calibration named above; the decision on the batch is a person's."
)
DECISIONS = ("Released", "Held for review", "Rejected")
SIGNERS = ("Inspected by", "Released by")


def summary_line(report: BatchReport) -> str:
    """The batch in one sentence."""
    total = len(report.parts)
    if total == 0:
        return "No part was inspected."
    if report.judged == 0:
        return f"{plural(total, 'part')} inspected, none judged."
    counts = report.counts
    words = [f"{counts['NG']} NG", f"{counts['REVIEW']} to review", f"{counts['OK']} OK"]
    words += [f"{counts[o]} {o.lower()}" for o in ("CANNOT JUDGE", "NO LIMIT", "UNREADABLE") if counts[o]]
    return f"{plural(total, 'part')} inspected: {', '.join(words)}."


def summary_rows(report: BatchReport) -> tuple[tuple[Outcome, str, str], ...]:
    """Outcome, number of parts, and its number per 1000: verdicts of those judged, the others of all parts.

    Outcomes other than verdicts are left out where they did not occur.
    """
    rows = []
    for outcome in OUTCOMES:
        count, verdict = report.counts[outcome], outcome in ("NG", "REVIEW", "OK")
        of = report.judged if verdict else len(report.parts)
        if verdict or count:
            rows.append((outcome, str(count), format_number(1000 * count / of) if of else "–"))
    return tuple(rows)


def counted_of(outcome: Outcome) -> str:
    """What a number per 1000 is a share of."""
    return "judged" if outcome in ("NG", "REVIEW", "OK") else "parts"


def batch_facts(report: BatchReport) -> Facts:
    """Which parts, when, by whom."""
    scale = "not given, so areas are in pixels (px)"
    if report.mm_per_pixel is not None:
        across, down = (format_number(each) for each in pitch_xy(report.mm_per_pixel))
        scale = f"{across} mm a pixel" if across == down else f"{across} mm a pixel in x, {down} in y"
    rows = [
        ("Station or batch", report.batch or "not given"),
        ("Reported", minute(report.created_at)),
        ("By", report.who or "not given"),
        ("Parts", f"{len(report.parts)} inspected, {report.judged} judged"),
        ("Scale", scale),
    ]
    if report.folder:
        rows.append(("Folder", report.folder))
    return tuple(rows)


def model_facts(report: BatchReport) -> Facts:
    """Which model, and what tells it from any other."""
    model = report.model
    skips = {1: "no skip", 2: "1 skip", 3: "2 skips"}[model.model.res]
    learnt = f"{model.data['n_train']} good images" if "n_train" in model.data else "not known"
    return (
        ("Class", f"{model.class_name} ({model.dataset})"),
        ("Network", f"{model.model.net}, {skips}, {size_option(model.model.image_size)} px"),
        *((("Images above 8 bit", str(model.levels)),) if model.levels else ()),
        *((("Part", str(model.alignment)),) if model.alignment else ()),
        ("Folder", model.folder.name),
        ("Made", f"{minute(model.created_at)} ({model.origin})"),
        ("Learnt from", learnt),
        ("Weights SHA-256", model.digest or "not known"),
        ("Training data SHA-256", str(model.data.get("digest") or "not known")),
    )


def calibration_facts(report: BatchReport) -> Facts:
    """The limits and where they came from; empty without a calibration."""
    found = report.calibration
    if found is None:
        return ()
    rows = [
        ("Version", f"{found.version}, made {minute(found.created_at)} by {found.who}"),
        ("Method", METHODS.get(found.method, found.method)),
        ("From", f"{found.data} (n = {found.n})"),
        ("NG", f"score above {format_number(found.image_threshold)}"),
    ]
    if found.review_threshold is not None:
        between = f"{format_number(found.review_threshold)} and up to {format_number(found.image_threshold)}"
        rows.append(("REVIEW", f"score above {between}"))
    if found.min_area > 1:
        rows.append(("Smallest region", f"{found.min_area} pixels of the anomaly map"))
    if found.ignore is not None:
        rows.append(("Ignored", f"the area drawn in {found.ignore}"))
    if found.note:
        rows.append(("Note", found.note))
    return tuple(rows)


def promise(calibration: Calibration | None) -> str:
    """What the calibration promises, in one or two sentences."""
    if calibration is None:
        return "No limit: this model has no calibration, so there are scores and no verdicts."
    rate, asked = calibration.certified_false_reject_rate, calibration.target_false_reject_rate
    if rate is None:
        return "No false-reject rate is certified by this way of choosing the limits."
    said = f"{calibration.n} held-out good images certify a false-reject rate of {format_rate(rate)}"
    if asked is not None and asked < rate:
        return f"{said}; {format_rate(asked)} was asked for, which so few images cannot certify."
    return f"{said}."


def warnings(report: BatchReport) -> tuple[str, ...]:
    """What a reader must know before relying on the verdicts."""
    found = []
    if report.calibration is not None and report.calibration.test_fitted:
        found.append("Test-fitted: the limits were chosen on the test images, so figures on them are optimistic.")
    if report.model.test_selected:
        found.append("Test-selected: the model's epoch was chosen on the test set.")
    if report.limit_by_hand:
        found.append("Limit given by hand for this batch: no calibration answers for its verdicts.")
    if report.tiled:
        found.append(
            "Seen in tiles: each tile of a large image is one more chance of a false reject, which the certified rate "
            "does not count."
        )
    if report.calibration is not None and set(report.versions) - {report.calibration.version}:
        named = ", ".join(str(version) for version in report.versions)
        found.append(f"Verdicts of this batch were made with calibration versions {named}; each part shows its limit.")
    return tuple(found)


def gallery_note(report: BatchReport) -> str:
    """Which parts have pictures, and which have not."""
    shown, left = len(report.pictured), report.without_pictures
    if shown == 0 and left == 0:
        return "No part is NG, to review, or cannot be judged."
    order = "NG by falling score, then REVIEW, then CANNOT JUDGE. Left the photograph, right the anomaly map over it."
    if not left:
        return order
    return f"{order} {plural(shown, 'part')} shown; {left} more are in the table of all parts only."


def part_lines(part: Part) -> tuple[str, ...]:
    """What stands beside the pictures of a part: score and limit, why it cannot be judged, how the model saw it."""
    seen = f"seen {part.view}" if part.view else ""
    return tuple(line for line in (score_line(part), part.reason, seen) if line)


def score_line(part: Part) -> str:
    """``score 0.820, limit 0.610``, with the lower limit too for REVIEW; empty without a score."""
    if part.score is None:
        return ""
    if part.limit is None:
        return f"score {format_number(part.score)}"
    if part.outcome == "REVIEW" and part.review_limit is not None:
        score, review, limit = format_apart(part.score, part.review_limit, part.limit)
        return f"score {score}, review above {review}, limit {limit}"
    score, limit = format_apart(part.score, part.limit)
    return f"score {score}, limit {limit}"


def area_text(pixels: int, mm_per_pixel: Pitch | None) -> str:
    """An area with its unit."""
    if mm_per_pixel is None:
        return f"{pixels} px"
    return f"{format_number(pixels * math.prod(pitch_xy(mm_per_pixel)))} mm²"


def region_columns(mm_per_pixel: Pitch | None) -> tuple[str, str, str, str]:
    """Headings of :func:`region_row`, with the units."""
    unit = "px" if mm_per_pixel is None else "mm"
    return "Peak", "Area, px" if mm_per_pixel is None else "Area, mm²", f"From x, y, {unit}", f"Size, {unit}"


def region_row(region: Region, mm_per_pixel: Pitch | None) -> tuple[str, str, str, str]:
    """Peak, area, place of the box's upper left corner, and size of the box."""
    x0, y0, x1, y1 = region.box
    lengths = [str(each) for each in (x0, y0, x1 - x0, y1 - y0)]
    if mm_per_pixel is not None:
        across, down = pitch_xy(mm_per_pixel)
        lengths = [format_number(each) for each in (x0 * across, y0 * down, (x1 - x0) * across, (y1 - y0) * down)]
    x, y, width, height = lengths
    area, _, _ = area_text(region.area, mm_per_pixel).partition(" ")
    return format_number(region.peak), area, f"{x}, {y}", f"{width} × {height}"


def regions_left(part: Part) -> str:
    """How many regions the list beside the pictures leaves out; empty when none."""
    left = part.region_count - len(part.regions)
    return f"and {left} more" if left else ""


def table_row(part: Part, mm_per_pixel: Pitch | None) -> tuple[str, str, str, str, str, str]:
    """Number, score, limit, regions, area, and name with the reason where there is no verdict."""
    score, limit = ("–" if each is None else format_number(each) for each in (part.score, part.limit))
    if part.score is not None and part.limit is not None:
        score, limit = format_apart(part.score, part.limit)
    return (
        str(part.number),
        score,
        limit,
        str(part.region_count) if part.limit is not None else "–",
        area_text(part.area, mm_per_pixel) if part.area else "–",
        f"{part.name}: {part.reason}" if part.reason else part.name,
    )


def subject(report: BatchReport) -> str:
    """Class, model and limits: what heads every page. A limit given by hand stands beside the part."""
    limits = "no limit"
    if report.calibration is not None:
        limits = f"NG above {format_number(report.calibration.image_threshold)}"
        if report.calibration.review_threshold is not None:
            limits = f"REVIEW above {format_number(report.calibration.review_threshold)}, {limits}"
    return f"{report.model.class_name} ({report.model.dataset}) · model {report.model.folder.name} · {limits}"


def footer(report: BatchReport) -> str:
    """What stands at the foot of every page, before the page's number."""
    version = "no calibration" if report.calibration is None else f"calibration {report.calibration.version}"
    digest = report.model.digest[:SHORT_DIGEST]
    return f"{report.software} · model {digest} · {version} · {minute(report.created_at)}"
