"""The app under what happens to it in a plant: killed, busy, for long, twice, without its database, on a full disk.

    python -m benchmarks.soak                                 everything, about three hours
    python -m benchmarks.soak --only kills --kills 10         one section, fewer kills
    python -m benchmarks.soak --only sessions --sessions 5 --minutes 1

Each section runs the real app in a process of its own on a workspace of its own, with Chromium as its user, and prints
lines of a table: what was counted, and what is required. What the pages confirmed is noted in this process, which
nothing kills, and compared with the workspace afterwards. The exit code is 1 when a line does not hold. Everything that
is chosen at random comes from ``--seed``; when a process is killed also depends on how fast the machine is.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.plain import parser_of
from benchmarks.soaking import disk, inspections, kills, processes, server, sessions
from benchmarks.soaking.journal import Figure

COUNTS = {"seed": 1, "kills": 100, "sessions": 20, "inspections": 300, "decisions": 100, "restarts": 5}
COUNTS |= {"writes": 60}


def main() -> int:
    parser = parser_of(__doc__, **COUNTS)
    parser.add_argument("--minutes", type=float, default=10, metavar="M", help="of the sessions (default: %(default)g)")
    parser.add_argument("--only", action="append", metavar="SECTION", help="may be given several times")
    given = parser.parse_args()
    sections: dict[str, Callable[[Path], list[Figure]]] = {
        "kills": lambda root: kills.soak(root, kills=given.kills, seed=given.seed),
        "sessions": lambda root: sessions.soak(root, sessions=given.sessions, minutes=given.minutes, seed=given.seed),
        "inspections": lambda root: inspections.soak(root, inspections=given.inspections, seed=given.seed),
        "processes": lambda root: processes.soak(root, decisions=given.decisions, seed=given.seed),
        "server": lambda root: server.soak(root, restarts=given.restarts, seed=given.seed),
        "disk": lambda root: disk.soak(root, writes=given.writes, seed=given.seed),
    }
    chosen = given.only or list(sections)
    if unknown := set(chosen) - set(sections):
        parser.error(f"unknown section {', '.join(sorted(unknown))}; allowed: {', '.join(sections)}")
    table = {}
    for name in chosen:
        print(f"{name} …", flush=True)
        with tempfile.TemporaryDirectory(prefix="skrd4ad-soak-", ignore_cleanup_errors=True) as root:
            table[name] = sections[name](Path(root))
    print_table(table)
    return 0 if all(figure.holds for figures in table.values() for figure in figures) else 1


def print_table(table: dict[str, list[Figure]]) -> None:
    """The lines of all sections, as Markdown."""
    print("| section | measured | figure | required | holds |\n| --- | --- | --- | --- | --- |")
    for name, figures in table.items():
        for each in figures:
            print(f"| {name} | {each.what} | {each.value} | {each.required} | {'yes' if each.holds else 'NO'} |")


if __name__ == "__main__":
    sys.exit(main())
