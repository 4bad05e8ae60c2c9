"""What a study found, in words and rows: for the command line, the report and the page."""

from collections.abc import Sequence

from skrd4ad.format import format_number, format_rate, minute, plural, share_text
from skrd4ad.metrics.gauge import FEWEST_CATEGORIES, FIT_BELOW, UNFIT_ABOVE, GaugeStudy
from skrd4ad.metrics.kappa import AttributeStudy, PartShare
from skrd4ad.services.study.measure import Part, Study

Rows = list[tuple[str, str]]
PART_COLUMNS = ("Part", "Truth", "Mean score", "Lowest", "Highest", "Verdicts")
SOURCE = (
    "After AIAG, Measurement Systems Analysis, 4th edition: crossed study with random parts and settings, by analysis "
    "of variance; an interaction with p above 0.25 joins repeatability. Intervals are 95 %: of counts of parts "
    "Clopper-Pearson, of repeatability chi-squared. Several verdicts of one part are not independent, so none is given "
    "for shares of verdicts. REVIEW and CANNOT JUDGE are neither right nor an escape or a false alarm."
)


def judgement(study: Study) -> str:
    """The answer in a sentence or two: is the measurement fit?"""
    sentences = []
    if study.gauge is None:
        sentences.append(f"Whether the score is fit is not known. {study.why_not['gauge']}")
    else:
        rate = format_rate(study.gauge.share)
        if study.gauge.share < FIT_BELOW:
            sentences.append(f"The score is fit: %GRR is {rate}, below {format_rate(FIT_BELOW)}.")
        elif study.gauge.share <= UNFIT_ABOVE:
            sentences.append(
                f"The score may be fit, by what is at stake: %GRR is {rate}, between {format_rate(FIT_BELOW)} and "
                f"{format_rate(UNFIT_ABOVE)}."
            )
        else:
            sentences.append(
                f"The score is not fit to tell these parts apart: %GRR is {rate}, above {format_rate(UNFIT_ABOVE)}."
            )
        if study.gauge.categories is not None and study.gauge.categories < FEWEST_CATEGORIES:
            categories = plural(study.gauge.categories, "group")
            sentences.append(f"It tells {categories} of parts apart; {FEWEST_CATEGORIES} are asked for.")
    if study.wavering:
        names = ", ".join(part.name for part in study.wavering[:5])
        more = f" and {len(study.wavering) - 5} more" if len(study.wavering) > 5 else ""
        sentences.append(f"{plural(len(study.wavering), 'part')} got more than one verdict: {names}{more}.")
    elif study.attribute is not None:
        sentences.append("Every part got the same verdict each time.")
    if study.attribute is not None and study.attribute.escaped.count:
        escaped, of = study.attribute.escaped.count, study.attribute.escaped.total
        sentences.append(f"{escaped} of {plural(of, 'defective part')} passed at least once.")
    return " ".join(sentences)


def facts(study: Study) -> Rows:
    """What was measured, with what."""
    record = study.record
    version = "" if record.calibration is None else f" (calibration {record.calibration})"
    settings = dict.fromkeys(each.photograph.setting for each in record.measurements)
    truths = [part.truth for part in study.parts]
    known = f": {truths.count('good')} good, {truths.count('defect')} defective" if any(truths) else ""
    unknown = f", {truths.count(None)} unknown" if any(truths) and None in truths else ""
    return [
        ("Model", f"{record.model_title} ({record.model_digest[:12]})"),
        ("NG above", "no limit" if record.reject is None else format_number(record.reject) + version),
        ("Parts", f"{len(truths)}{known}{unknown}"),
        ("Photographs", f"{len(record.measurements)} read, {len(record.left_out)} left out"),
        ("Settings", f"{len(settings)}: {'; '.join(settings)}"),
        ("Rounds", ", ".join(study.rounds) or "not given"),
        ("Study", str(record.source)),
        ("Measured", minute(record.made_at)),
    ]


def headlines(study: Study) -> list[tuple[str, str, str]]:
    """The figures that are asked for first: name, value, and what it says."""
    found = []
    if study.gauge is not None:
        categories = "–" if study.gauge.categories is None else str(study.gauge.categories)
        found += [
            ("%GRR", format_rate(study.gauge.share), "Share of the gauge in all variation. Below 10 % is fit."),
            ("ndc", categories, "How many groups of parts the score tells apart. 5 are asked for."),
        ]
    if study.room is not None:
        what = "Three standard deviations of the gauge, of the way from the mean good part to the limit. Above 100 % a "
        found.append(
            ("3 GRR to the limit", format_rate(study.room), what + "good part may be rejected by noise alone.")
        )
    if study.attribute is not None:
        for name, share, what in (
            ("Same verdict", study.attribute.repeatable, "Parts judged alike each time in each setting."),
            ("Right each time", study.attribute.effective, "Parts whose every verdict was right: the effectiveness."),
            ("Escapes", study.attribute.escaped, "Defective parts that were passed at least once."),
        ):
            if share.total:
                found.append((name, f"{share.count} of {share.total}", what))
    return found


def gauge_rows(gauge: GaugeStudy) -> list[tuple[str, str, str]]:
    """Name, standard deviation in the unit of the scores, and its share of the total."""
    rows = [("Repeatability (EV)", gauge.repeatability)]
    if gauge.reproducibility is not None:
        rows.append(("Reproducibility (AV)", gauge.reproducibility))
        rows.append(("– between settings", gauge.setting or 0.0))
        rows.append(("– setting by part", gauge.interaction or 0.0))
    rows += [("Gauge (GRR)", gauge.gauge), ("Parts (PV)", gauge.part), ("Total (TV)", gauge.total)]
    return [
        (name, format_number(value), format_rate(value / gauge.total) if gauge.total else "–") for name, value in rows
    ]


def gauge_facts(study: Study) -> Rows:
    """What follows from the standard deviations."""
    gauge = study.gauge
    if gauge is None:
        return []
    low, high = gauge.repeatability_interval.low, gauge.repeatability_interval.high
    rows = [
        ("Repeatability, 95 %", f"{format_number(low)} to {format_number(high)}"),
        ("Groups told apart (ndc)", "–" if gauge.categories is None else str(gauge.categories)),
    ]
    if gauge.interaction_p is not None:
        rows.append(("Setting by part, p", format_number(gauge.interaction_p)))
    if study.room is not None:
        rows.append(("3 GRR of the way from good parts to the limit", format_rate(study.room)))
    return rows


def attribute_rows(attribute: AttributeStudy) -> Rows:
    """Name and figure of what verdicts agree on."""

    def of(share: PartShare) -> str:
        return f"{share.count} of {share.total}: {share_text(share.share, share.interval.low, share.interval.high)}"

    rows = [("Parts judged alike each time in a setting", of(attribute.repeatable))]
    if attribute.reproducible is not None:
        rows.append(("Parts judged alike in all settings", of(attribute.reproducible)))
    if attribute.effective.total:
        rows.append(("Parts judged right each time (effectiveness)", of(attribute.effective)))
    for name, share, rate_name, rate in (
        ("Defective parts passed at least once", attribute.escaped, "miss rate", attribute.miss_rate),
        ("Good parts rejected at least once", attribute.alarmed, "false alarm rate", attribute.false_alarm_rate),
    ):
        if rate is not None:
            rows += [(name, of(share)), (f"– share of their verdicts ({rate_name})", format_rate(rate))]
    rows.append(("Kappa between the verdicts of a part (Fleiss)", _kappa(attribute.kappa)))
    if attribute.effective.total:
        rows.append(("Kappa between verdicts and truth (Cohen)", _kappa(attribute.truth_kappa)))
    return rows


def stability_rows(study: Study) -> Rows:
    """Each round with its shift, and whether it is out of control."""
    if study.stability is None:
        return []
    limit = format_number(study.stability.limit)
    return [
        (
            f"Round {name}",
            f"{shift:+.4g}, limit ±{limit}" + (": out of control" if index in study.stability.out else ""),
        )
        for index, (name, shift) in enumerate(zip(study.rounds, study.stability.shifts, strict=True))
    ] + [("Rounds differ by chance, p", format_number(study.stability.p))]


def bias_text(study: Study) -> str:
    """The bias against the reference scores in a sentence; empty without them."""
    if study.bias is None:
        return ""
    low, high = study.bias.interval.low, study.bias.interval.high
    word = "no bias is shown" if low <= 0 <= high else "there is a bias"
    return (
        f"Scores are {study.bias.mean:+.4g} beside their references on {study.bias.parts} parts (95 %: {low:+.4g} to "
        f"{high:+.4g}): {word}."
    )


def part_row(part: Part) -> Sequence[str]:
    """Cells under :data:`PART_COLUMNS`."""
    verdicts = ", ".join(f"{part.verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(part.verdicts))
    scores = (format_number(value) for value in (part.mean, part.lowest, part.highest))
    return part.name, part.truth or "unknown", *scores, verdicts or "–"


def _kappa(value: float | None) -> str:
    return "not defined: nothing varies" if value is None else f"{value:.3f}"
