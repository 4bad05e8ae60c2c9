"""A report as a PDF: the HTML page, printed by WeasyPrint with the fonts of the system."""

import io
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType

from PIL import ImageFile

from skrd4ad.errors import DependencyError
from skrd4ad.services.reports.collect import BatchReport
from skrd4ad.services.reports.html import Paper, html_text


def pdf_bytes(report: BatchReport, *, paper: Paper = "a4", progress: Callable[[str], object] | None = None) -> bytes:
    """The PDF itself, for a download.

    ``progress`` is called with what is being done, at least once a page; what it raises ends the work.
    """
    return print_page(html_text(report, paper=paper), progress=progress)


def print_page(html: str, *, progress: Callable[[str], object] | None = None) -> bytes:
    """PDF of an HTML page, which may use nothing but what stands in it: no file, no address."""
    weasyprint = require_weasyprint()
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols=["data"], allow_redirects=False)
    with _steps(progress):
        pdf: bytes = weasyprint.HTML(string=html, url_fetcher=fetcher).write_pdf()
    return pdf


def require_weasyprint() -> ModuleType:
    """The library, imported when it is first needed; a DependencyError when it cannot be used here."""
    refuses = not ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        # without Pango it prints its advice to standard output, where documents go
        with redirect_stdout(io.StringIO()):
            import weasyprint
    except (ImportError, OSError) as error:
        missing = str(error).partition("\n")[0].partition(".  Additionally")[0]
        raise DependencyError(
            f"A PDF needs WeasyPrint and the system's library Pango, which cannot be used here ({missing}): install "
            "them (`pip install weasyprint`; Debian and Ubuntu: `apt-get install libpango-1.0-0 libpangoft2-1.0-0 "
            "libharfbuzz-subset0`; macOS: `brew install pango`; Windows: Pango of MSYS2), or open the report as a web "
            "page in a browser and print it to a PDF there."
        ) from error
    finally:
        # importing it lets Pillow fill up images that are cut off, anywhere: such a part would get a verdict
        if refuses:
            ImageFile.LOAD_TRUNCATED_IMAGES = False
    return weasyprint


@contextmanager
def _steps(progress: Callable[[str], object] | None) -> Iterator[None]:
    """Pass on what WeasyPrint logs of its steps on this thread; others may print at the same time."""
    if progress is None:
        yield
        return
    thread = threading.get_ident()
    show = progress

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                page = record.getMessage().partition(" - Page ")[2]
                show(f"page {page}" if page else "writing the PDF")

    handler = Handler()
    logger = logging.getLogger("weasyprint.progress")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
