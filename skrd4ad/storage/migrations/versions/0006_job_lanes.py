"""Lanes of jobs, who asked for them, whether they go on, and the process that works a lane off."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LANES = {"labels": "labels", "score": "short", "evaluate": "short", "compare": "short"}
"""Those of the kinds that were there; all others are long."""


def upgrade() -> None:
    op.add_column("jobs", sa.Column("lane", sa.String(16), nullable=False, server_default="long"))
    op.add_column("jobs", sa.Column("who", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("jobs", sa.Column("again", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "job_workers",
        sa.Column("lane", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("supervisor", sa.String(255), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("lane", name="pk_job_workers"),
    )
    jobs = sa.table("jobs", *(sa.column(name, sa.String()) for name in ("kind", "state", "owner", "lane")))
    for kind, lane in LANES.items():
        op.execute(jobs.update().where(jobs.c.kind == kind).values(lane=lane))
    # they waited for a program that is gone; any worker may run them now
    op.execute(jobs.update().where(jobs.c.state == "queued").values(owner=""))


def downgrade() -> None:
    op.drop_table("job_workers")
    with op.batch_alter_table("jobs") as table:
        for name in ("again", "who", "lane"):
            table.drop_column(name)
