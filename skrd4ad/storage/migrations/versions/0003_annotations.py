"""Annotations: what people decided on images; the classes images belong to, calibrations, watched folders."""

from pathlib import PurePath

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
OBJECT = sa.JSON(none_as_null=True)


def upgrade() -> None:
    with op.batch_alter_table("images") as images:
        images.add_column(sa.Column("width", sa.Integer()))
        images.add_column(sa.Column("height", sa.Integer()))
        images.add_column(sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "class_images",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=False),
        sa.Column("image_digest", sa.String(64), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("split", sa.String(16)),
        sa.Column("known_type", sa.Text()),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("dataset", "class_name", "image_digest", name="pk_class_images"),
        sa.ForeignKeyConstraint(["image_digest"], ["images.digest"], name="fk_class_images_image_digest"),
    )
    op.create_index("ix_class_images_image_digest", "class_images", ["image_digest"])
    op.create_table(
        "annotations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_digest", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(16), nullable=False),
        sa.Column("defect_type", sa.Text()),
        sa.Column("mask_file", sa.Text()),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("undoes", sa.Integer()),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotations"),
        sa.ForeignKeyConstraint(["image_digest"], ["images.digest"], name="fk_annotations_image_digest"),
        sa.UniqueConstraint("image_digest", "revision", name="uq_annotations_image_digest_revision"),
    )
    op.create_index("ix_annotations_reviewer", "annotations", ["reviewer"])
    op.create_table(
        "calibrations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("model_folder", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("values", OBJECT, nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_calibrations"),
        sa.UniqueConstraint(
            "model_digest", "model_folder", "version", name="uq_calibrations_model_digest_model_folder_version"
        ),
    )
    op.create_table(
        "watched_folders",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("model_folder", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(255)),
        sa.Column("heartbeat_at", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("note", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_watched_folders"),
        sa.UniqueConstraint("folder", "model_folder", name="uq_watched_folders_folder_model_folder"),
    )
    _place_waiting_images()


def downgrade() -> None:
    for table in ("watched_folders", "calibrations", "annotations", "class_images"):
        op.drop_table(table)
    with op.batch_alter_table("images") as images:
        for column in ("revision", "height", "width"):
            images.drop_column(column)


def _place_waiting_images() -> None:
    """Images that waited for review belong to the class of the model that sent them."""
    connection = op.get_bind()
    models = connection.execute(sa.text("SELECT folder, dataset, class_name FROM models"))
    classes = {row.folder: (row.dataset, row.class_name) for row in models}
    sent = connection.execute(
        sa.text("SELECT image_digest, model_folder, MIN(made_at) FROM predictions GROUP BY image_digest, model_folder")
    )
    rows = {}
    for digest, folder, added_at in sent:
        # a model folder is <dataset>/<class>/<run>
        dataset, class_name = classes.get(folder) or PurePath(folder).parts[-3:-1]
        rows[dataset, class_name, digest] = {
            "dataset": dataset,
            "class_name": class_name,
            "image_digest": digest,
            "added_at": added_at,
        }
    if rows:
        connection.execute(
            sa.text(
                "INSERT INTO class_images (dataset, class_name, image_digest, origin, added_at) "
                "VALUES (:dataset, :class_name, :image_digest, 'inspect', :added_at)"
            ),
            list(rows.values()),
        )
