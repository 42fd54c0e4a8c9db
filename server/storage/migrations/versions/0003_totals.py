"""Daily totals of attempts that are no longer stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "totals",
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("key_name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("upstream_model", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("cost_source", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("cost_pico", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day",
            "key_name",
            "model",
            "provider",
            "upstream_model",
            "outcome",
            "cost_source",
            name="totals_pkey",
        ),
    )
    op.create_index("totals_key", "totals", ["key_name"], unique=False)
    op.add_column("receipts", sa.Column("folded_pico", sa.BigInteger(), nullable=True))
    op.add_column("receipts", sa.Column("folded_answered", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("receipts", "folded_answered")
    op.drop_column("receipts", "folded_pico")
    op.drop_index("totals_key", table_name="totals")
    op.drop_table("totals")
