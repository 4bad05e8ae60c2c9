"""What cannot be judged has a verdict of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

PREDICTIONS = sa.table("predictions", sa.column("verdict"), sa.column("refusal"))
WORD = "CANNOT JUDGE"


def upgrade() -> None:
    op.execute(PREDICTIONS.update().where(PREDICTIONS.c.refusal.is_not(None)).values(verdict=WORD))


def downgrade() -> None:
    """The verdicts by score are gone: these images wait for one."""
    op.execute(PREDICTIONS.update().where(PREDICTIONS.c.verdict == WORD).values(verdict=None))
