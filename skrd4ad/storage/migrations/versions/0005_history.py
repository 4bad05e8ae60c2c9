"""History: one hash-chained table in place of runs, models and calibrations, with what they hold."""

import json
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op

from skrd4ad.storage import migrations
from skrd4ad.storage.history import NO_HASH, entry_hash

revision = "0005"
down_revision = "0004"

MOMENT = sa.DateTime(timezone=True)
OBJECT = sa.JSON(none_as_null=True)
ENDINGS = {"done": "trained", "failed": "training failed", "cancelled": "training cancelled"}


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=False),
        sa.Column("model_folder", sa.Text(), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_history"),
    )
    _carry_over()
    for table in ("calibrations", "models", "runs"):
        op.drop_table(table)


def downgrade() -> None:
    """The old tables come back empty: a row of the history cannot be taken apart again."""
    import_module(f"{migrations.__name__}.versions.0001_first_tables").create_runs_and_models()
    import_module(f"{migrations.__name__}.versions.0003_annotations").create_calibrations()
    op.drop_table("history")


def _carry_over() -> None:
    """One entry a row of the old tables, in the order of their times."""
    runs = _rows("runs", objects=("config", "metrics"), moments=("started_at", "finished_at"))
    models = _rows("models", objects=("metrics",), moments=("created_at", "seen_at"))
    calibrations = _rows("calibrations", objects=("values",), moments=("made_at",))
    by_folder = {model["folder"]: model for model in models}
    entries = [_of_run(run, by_folder.get(run["folder"])) for run in runs]
    entries += [_of_model(model) for model in models]
    entries += [_of_calibration(row, by_folder.get(row["model_folder"])) for row in calibrations]
    previous = NO_HASH
    # sorted() keeps runs before models before calibrations of the same moment
    for number, entry in enumerate(sorted(entries, key=lambda entry: entry["at"]), start=1):
        entry |= {"id": number, "details": json.dumps(entry["details"], sort_keys=True), "previous": previous}
        previous = entry["hash"] = entry_hash(entry)
    if entries:
        history = sa.table("history", *(sa.column(name) for name in entries[0]))
        op.get_bind().execute(history.insert(), entries)


def _rows(table: str, *, objects: tuple[str, ...], moments: tuple[str, ...]) -> list[dict[str, Any]]:
    """All rows with JSON read and times as ISO 8601 in UTC."""
    bind = op.get_bind()
    names = [column["name"] for column in sa.inspect(bind).get_columns(table)]
    types: dict[str, Any] = dict.fromkeys(objects, OBJECT) | dict.fromkeys(moments, MOMENT)
    source = sa.table(table, *(sa.column(name, types.get(name)) for name in names))
    found = [dict(row._mapping) for row in bind.execute(sa.select(source).order_by(source.c.id))]
    return [{**row, **{name: _iso(row[name]) for name in moments}} for row in found]


def _iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    # SQLite keeps UTC without saying so
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.isoformat(timespec="microseconds")


def _of_run(run: dict[str, Any], model: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "at": run["finished_at"] or run["started_at"],
        "who": "",
        "what": ENDINGS.get(run["state"], "training interrupted"),
        "dataset": run["dataset"],
        "class_name": run["class_name"],
        "model_folder": run["folder"],
        "model_digest": "" if model is None else model["digest"],
        "details": _known(run, "job_id", "config", "metrics", "error", "started_at"),
    }


def _of_model(model: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": model["seen_at"],
        "who": "",
        "what": "recorded",
        "dataset": model["dataset"],
        "class_name": model["class_name"],
        "model_folder": model["folder"],
        "model_digest": model["digest"],
        "details": _known(model, "net", "res", "created_at", "metrics"),
    }


def _of_calibration(row: dict[str, Any], model: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "at": row["made_at"],
        "who": row["who"],
        "what": "calibrated" if row["version"] == 1 else "recalibrated",
        "dataset": "" if model is None else model["dataset"],
        "class_name": "" if model is None else model["class_name"],
        "model_folder": row["model_folder"],
        "model_digest": row["model_digest"],
        "details": {"version": row["version"], "calibration": row["values"]},
    }


def _known(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names if row[name] is not None}
