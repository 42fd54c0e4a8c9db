"""The limit on the cost of one session of a key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("session_budget_usd", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "session_budget_usd")
