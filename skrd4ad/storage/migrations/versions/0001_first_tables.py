"""First tables: jobs, the points of their curves, runs, models."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
OBJECT = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("wish", sa.String(16), nullable=False),
        sa.Column("request", OBJECT, nullable=False),
        sa.Column("progress", OBJECT, nullable=False),
        sa.Column("result", OBJECT),
        sa.Column("error", sa.Text()),
        sa.Column("details", sa.Text()),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("heartbeat_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_state_created_at", "jobs", ["state", "created_at"])
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"])
    op.create_table(
        "job_points",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("values", OBJECT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_points"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_points_job_id", ondelete="CASCADE"),
    )
    op.create_index("ix_job_points_job_id", "job_points", ["job_id"])
    create_runs_and_models()


def create_runs_and_models() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(32)),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=False),
        sa.Column("config", OBJECT, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("metrics", OBJECT),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_runs_job_id", ondelete="SET NULL"),
    )
    op.create_index("ix_runs_job_id", "runs", ["job_id"])
    op.create_index("ix_runs_dataset_class_name", "runs", ["dataset", "class_name"])
    op.create_index("ix_runs_started_at", "runs", ["started_at"])
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=False),
        sa.Column("net", sa.String(64), nullable=False),
        sa.Column("res", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("metrics", OBJECT),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("folder", name="uq_models_folder"),
    )
    op.create_index("ix_models_dataset_class_name", "models", ["dataset", "class_name"])


def downgrade() -> None:
    for table in ("models", "runs", "job_points", "jobs"):
        op.drop_table(table)
