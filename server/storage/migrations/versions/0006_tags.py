"""Tags of attempts, and daily totals of tagged attempts that are no longer stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("tags", sa.Text(), nullable=True))
    op.create_table(
        "tag_totals",
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("cost_pico", sa.BigInteger(), nullable=False),
        sa.Column("estimated_pico", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "tags", name="tag_totals_pkey"),
    )


def downgrade() -> None:
    op.drop_table("tag_totals")
    op.drop_column("attempts", "tags")
