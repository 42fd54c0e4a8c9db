"""Keys whose requests no second model may answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("shadow", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "shadow")
