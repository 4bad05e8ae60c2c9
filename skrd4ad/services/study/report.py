"""The report of a study as one HTML file, which is also the layout of its PDF."""

from markupsafe import Markup

from skrd4ad.services.reports.html import FONTS, Paper, render
from skrd4ad.services.study import text
from skrd4ad.services.study.measure import Study


def study_html(study: Study, *, paper: Paper = "a4") -> str:
    """One HTML document with everything that the study found."""
    return render("study.html", title="Measurement study", study=study, words=text, paper=paper, fonts=Markup(FONTS))
