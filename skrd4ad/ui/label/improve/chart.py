"""The chart of the loop: each labelled image by the old and the new model, each score by its own limit."""

import plotly.graph_objects as go

from skrd4ad.services.improve.compare import LabelComparison, PairedImage
from skrd4ad.types import Verdict
from skrd4ad.ui.charts import is_dark
from skrd4ad.ui.theme import DARK, LIGHT, VERDICTS, chart_template

SYMBOLS = {"good": "circle-open", "defect": "triangle-up"}
NAMES = {"good": "Labelled good", "defect": "Labelled defect"}


def ratio_chart(found: LabelComparison) -> go.Figure:
    """Score over limit of the old model across, of the new one upwards; NG lies beyond 1, on either side by its own
    model. Both models must have a calibration with a limit above 0, as scores of this model are."""
    figure = go.Figure(layout={"template": chart_template(is_dark()), "height": 340})
    old, new = found.old.info.calibration, found.new.info.calibration
    assert old is not None and new is not None, "pairs exist only with limits"
    limits = (old.image_threshold, new.image_threshold)
    colours: tuple[tuple[str, Verdict], ...] = (("good", "OK"), ("defect", "NG"))
    for label, verdict in colours:
        pairs = [pair for pair in found.pairs if pair.image.label == label]
        figure.add_scatter(
            x=[_ratio(pair.image.score, limits[0]) for pair in pairs],
            y=[_ratio(pair.new_score, limits[1]) for pair in pairs],
            name=NAMES[label],
            mode="markers",
            marker={"symbol": SYMBOLS[label], "size": 9, "color": VERDICTS[verdict].colour, "opacity": 0.8},
            text=[_hover(pair) for pair in pairs],
            hovertemplate="%{text}<extra></extra>",
        )
    line = {"color": (DARK if is_dark() else LIGHT).quiet_text, "width": 1, "dash": "dot"}
    figure.add_hline(y=1, line=line)
    figure.add_vline(x=1, line=line)
    figure.update_xaxes(title_text="Old model: score over its NG limit", rangemode="tozero")
    figure.update_yaxes(title_text="New model: score over its NG limit", rangemode="tozero")
    return figure


def _ratio(score: float | None, limit: float) -> float | None:
    return None if score is None or limit <= 0 else score / limit


def _hover(pair: PairedImage) -> str:
    return f"{pair.image.name}<br>old {pair.old}, new {pair.new}"
