"""The limit on the cost of one request of a key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("max_request_usd", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "max_request_usd")
