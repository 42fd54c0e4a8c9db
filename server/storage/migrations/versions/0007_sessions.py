"""The session of an attempt, as a keyed hash, and the budget that its caller gave it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("session", sa.String(32), nullable=True))
    op.add_column("attempts", sa.Column("session_budget_pico", sa.BigInteger(), nullable=True))
    has_session, has_budget = (
        sa.text("session IS NOT NULL"),
        sa.text("session_budget_pico IS NOT NULL"),
    )
    op.create_index(
        "attempts_session",
        "attempts",
        ["session"],
        sqlite_where=has_session,
        postgresql_where=has_session,
    )
    op.create_index(
        "attempts_session_budget",
        "attempts",
        ["started_at", "session"],
        sqlite_where=has_budget,
        postgresql_where=has_budget,
    )


def downgrade() -> None:
    op.drop_index("attempts_session_budget", "attempts")
    op.drop_index("attempts_session", "attempts")
    op.drop_column("attempts", "session_budget_pico")
    op.drop_column("attempts", "session")
