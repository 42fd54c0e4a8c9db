"""Grades of answers by checkers and judges."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "grades",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("key_name", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_b", sa.Text(), nullable=True),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("leaderboard", sa.Text(), nullable=True),
    )
    op.create_index("grades_created", "grades", ["created_at"])


def downgrade() -> None:
    op.drop_table("grades")
