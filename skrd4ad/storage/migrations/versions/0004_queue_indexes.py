"""Indexes for the label queue: defect types by their first use, and whether a model has looked at images since."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index("ix_annotations_defect_type", "annotations", ["defect_type"])
    op.create_index("ix_predictions_model_digest_made_at", "predictions", ["model_digest", "made_at"])


def downgrade() -> None:
    op.drop_index("ix_predictions_model_digest_made_at", "predictions")
    op.drop_index("ix_annotations_defect_type", "annotations")
