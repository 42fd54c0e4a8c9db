"""The model that answered, where it was not the one asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("served_model", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("attempts", "served_model")
