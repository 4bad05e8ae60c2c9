"""``skrd4ad history``: who did what in the workspace, and whether that record was altered."""

import argparse
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from skrd4ad.cli.output import DONE, NO, Output
from skrd4ad.cli.parser import Parser, describe, whole
from skrd4ad.services.history import (
    HistoryEntry,
    HistoryFilter,
    details_of,
    details_text,
    history_csv,
    history_page,
    verify_history,
)
from skrd4ad.storage.history import WHATS


def add_options(parser: Parser) -> None:
    """Add what the command takes."""
    describe(
        parser,
        more="Each row carries the hash of the row before: --verify compares them all, and the exit code is 1 when a "
        "row was altered, removed or moved. Rows cut off at the end show only against --head, a hash kept before.",
        example="history --verify",
        run=run,
    )
    parser.add_argument("--what", nargs="+", choices=WHATS, default=(), metavar="WHAT", help=", ".join(WHATS))
    parser.add_argument("--who", nargs="+", default=(), metavar="NAME", help="who did it")
    parser.add_argument("--about", default="", metavar="TEXT", help="in data set, class, model folder or digest")
    parser.add_argument("--since", type=_day, metavar="DATE", help="from this day on (UTC), such as 2026-05-31")
    parser.add_argument("--until", type=_day, metavar="DATE", help="up to this day and all of it (UTC)")
    parser.add_argument("--limit", type=whole(1), metavar="N", help="rows at most (default: all)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the rows to a CSV file instead")
    parser.add_argument("--verify", action="store_true", help="compare the hashes of all rows, and show no row")
    parser.add_argument("--head", metavar="HASH", help="with --verify: a hash that was the newest one once")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Show, export or verify the history."""
    if arguments.verify or arguments.head is not None:
        return _verify(arguments.head, output)
    until = arguments.until
    wanted = HistoryFilter(
        what=arguments.what,
        who=arguments.who,
        about=arguments.about,
        since=arguments.since,
        before=None if until is None else until + timedelta(days=1),
    )
    if arguments.csv is not None:
        arguments.csv.write_bytes(history_csv(wanted))
        output.say(str(arguments.csv))
        output.document({"file": str(arguments.csv.absolute())})
        return DONE
    page = history_page(wanted, limit=arguments.limit)
    for entry in page.entries:
        output.say(_line(entry))
    if not page.entries:
        output.note("The history holds no such row." if page.whats else "Nothing happened in this workspace yet.")
    output.document({"total": page.total, "head": page.head, "rows": [_document(entry) for entry in page.entries]})
    return DONE


def _verify(head: str | None, output: Output) -> int:
    found = verify_history(head=head)
    if found.problem:
        output.note(f"{found.problem} The {found.n} rows before it hold.")
    else:
        output.say(f"chain verified, {found.n} rows\nhead {found.head}")
    document = {"verified": not found.problem, "rows": found.n, "head": found.head}
    output.document({**document, "altered": found.altered, "problem": found.problem})
    return NO if found.problem else DONE


def _line(entry: HistoryEntry) -> str:
    subject = entry.model_folder or "/".join(filter(None, (entry.dataset, entry.class_name)))
    when = entry.at[:19].replace("T", " ")
    line = f"{entry.id}  {when} UTC  {entry.who or 'not recorded'}  {entry.what}  {subject}"
    return f"{line}\n  {details_text(entry)}".rstrip()


def _document(entry: HistoryEntry) -> dict[str, object]:
    names = ("id", "at", "who", "what", "dataset", "class_name", "model_folder", "model_digest", "previous", "hash")
    return {**{name: getattr(entry, name) for name in names}, "details": details_of(entry)}


def _day(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a day such as 2026-05-31") from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
