"""A PostgreSQL server of one's own for tests and benchmarks: made in a temporary folder, gone at the end."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.limits import LONG

DEBIAN = Path("/usr/lib/postgresql")
ADMIN = "postgres"
GUARDED, PASSWORD = "guarded", "right-secret"
"""A user who needs a password; the others need none."""
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "timezone": "Asia/Kolkata",  # a server's own zone must not matter
}
_RULES = f"local all {GUARDED} scram-sha-256\nlocal all all trust\n"


@dataclass(kw_only=True)
class PostgresServer:
    """A server that is stopped and started at will."""

    socket: Path
    """Folder of its Unix socket."""
    command: list[str]
    as_user: dict
    """Arguments for ``subprocess`` that give up root."""
    process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers.

        Raises:
            RuntimeError: it does not start; says why.
        """
        if self.process is not None:
            return
        log = self.socket / "log"
        with log.open("a") as output:
            self.process = subprocess.Popen(self.command, cwd=self.socket, stdout=output, stderr=output, **self.as_user)
        deadline = time.monotonic() + LONG
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{log.read_text()[-2000:]}") from error
                time.sleep(0.05)
            else:
                return

    def stop(self, *, crash: bool = False) -> None:
        """Stop it with its open connections; by ``crash`` at once, so that it has to recover when it starts."""
        if self.process is not None:
            # SIGTERM would wait for open connections
            self.process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
            self.process.wait()
            self.process = None

    def url(self, database: str, *, user: str = ADMIN, password: str | None = None) -> str:
        """SQLAlchemy's URL of a database."""
        secret = "" if password is None else f":{password}"
        return f"postgresql+psycopg://{user}{secret}@/{database}?host={self.socket}"

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """Name of an empty database that is gone at the end, whoever still uses it."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, *, database: str = ADMIN) -> None:
        """Run one statement as the administrator."""
        with psycopg.connect(host=str(self.socket), user=ADMIN, dbname=database, autocommit=True) as connection:
            connection.execute(statement.encode())


def find_program(name: str) -> Path | None:
    """A program of PostgreSQL's server: on the PATH, or the newest of Debian's, which are not on it."""
    if found := shutil.which(name):
        return Path(found)
    versions = [folder for folder in DEBIAN.glob("*/bin") if os.access(folder / name, os.X_OK)]
    return max(versions, key=lambda folder: float(folder.parent.name)) / name if versions else None


@contextmanager
def running_postgres(**settings: str) -> Iterator[PostgresServer]:
    """A server until the end of the block; ``settings`` go before those that make tests quick.

    Raises:
        RuntimeError: the programs are not installed, or it does not start; says what to do.
    """
    initdb, postgres = find_program("initdb"), find_program("postgres")
    if initdb is None or postgres is None:
        raise RuntimeError(
            "PostgreSQL's server is not installed: there is no initdb on the PATH or in /usr/lib/postgresql/*/bin. "
            "Install it with `make postgres` as root, or Debian's package postgresql, or put its bin folder on PATH."
        )
    # the server refuses to run as root, and others cannot enter pytest's own folders
    folder = Path(tempfile.mkdtemp(prefix="skrd4ad-postgres-"))
    as_user = _unprivileged(folder)
    try:
        data = folder / "data"
        make = [initdb, "-D", data, "--username", ADMIN, "--auth", "trust", "--encoding", "UTF8", "--no-locale"]
        made = subprocess.run([*make, "--no-sync"], cwd=folder, capture_output=True, text=True, **as_user)
        if made.returncode:
            raise RuntimeError(f"initdb failed in {folder}: {made.stderr.strip()}")
        (data / "pg_hba.conf").write_text(_RULES)
        options = [f"--{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
        command = [str(each) for each in (postgres, "-D", data, "-k", folder, *options)]
        running = PostgresServer(socket=folder, command=command, as_user=as_user)
        try:
            running.start()
            running.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder)


def _unprivileged(folder: Path) -> dict:
    """Arguments for ``subprocess`` that give up root, and the folder to whom it is given up; none for other users."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
