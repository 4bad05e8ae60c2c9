"""Review queue: images by content, and what models said of them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "images",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_images"),
    )
    op.create_table(
        "predictions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_digest", sa.String(64), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("model_folder", sa.Text(), nullable=False),
        sa.Column("calibration", sa.Integer()),
        sa.Column("threshold", sa.Double()),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("verdict", sa.String(16)),
        sa.Column("refusal", sa.Text()),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("review_since", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_predictions"),
        sa.ForeignKeyConstraint(["image_digest"], ["images.digest"], name="fk_predictions_image_digest"),
        sa.UniqueConstraint("image_digest", "model_digest", name="uq_predictions_image_digest_model_digest"),
    )
    op.create_index("ix_predictions_review_since", "predictions", ["review_since"])


def downgrade() -> None:
    op.drop_table("predictions")
    op.drop_table("images")
