"""Annotations: what people decided on images; the classes images belong to, calibrations, watched folders."""

from pathlib import PurePath

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MOMENT = sa.DateTime(timezone=True)
OBJECT = sa.JSON(none_as_null=True)


def upgrade() -> None:
    with op.batch_alter_table("images") as images:
        images.add_column(sa.Column("width", sa.Integer()))
        images.add_column(sa.Column("height", sa.Integer()))
        images.add_column(sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
        images.add_column(sa.Column("note", sa.Text()))
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
    create_calibrations()
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
    op.create_table(
        "watched_files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("watch_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("image_digest", sa.String(64)),
        sa.Column("note", sa.Text()),
        sa.Column("taken_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_watched_files"),
        sa.ForeignKeyConstraint(
            ["watch_id"], ["watched_folders.id"], name="fk_watched_files_watch_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["image_digest"], ["images.digest"], name="fk_watched_files_image_digest"),
        sa.UniqueConstraint("watch_id", "name", name="uq_watched_files_watch_id_name"),
    )
    op.create_index("ix_watched_files_watch_id_taken_at", "watched_files", ["watch_id", "taken_at"])
    _place_waiting_images()


def create_calibrations() -> None:
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


def downgrade() -> None:
    for table in ("watched_files", "watched_folders", "calibrations", "annotations", "class_images"):
        op.drop_table(table)
    # in place: a copy of the table would have to take the predictions of its images away first
    for column in ("note", "revision", "height", "width"):
        op.drop_column("images", column)


def _place_waiting_images() -> None:
    """Images that waited for review belong to the class of the model that sent them."""
    connection = op.get_bind()
    models = connection.execute(sa.text("SELECT folder, dataset, class_name FROM models"))
    classes = {row.folder: (row.dataset, row.class_name) for row in models}
    sent = connection.execute(
        sa.text(
            "SELECT image_digest, model_folder, MIN(made_at) AS first FROM predictions "
            "GROUP BY image_digest, model_folder ORDER BY first"
        )
    )
    rows: dict[tuple[str, str, str], dict[str, object]] = {}
    for digest, folder, added_at in sent:
        # a model folder is <dataset>/<class>/<run>; one that lies elsewhere may have fewer parts
        dataset, class_name = classes.get(folder) or ("-", "-", *PurePath(folder).parts[:-1])[-2:]
        row = {"dataset": dataset, "class_name": class_name, "image_digest": digest, "added_at": added_at}
        rows.setdefault((dataset, class_name, digest), row)
    if rows:
        connection.execute(
            sa.text(
                "INSERT INTO class_images (dataset, class_name, image_digest, origin, added_at) "
                "VALUES (:dataset, :class_name, :image_digest, 'inspect', :added_at)"
            ),
            list(rows.values()),
        )
