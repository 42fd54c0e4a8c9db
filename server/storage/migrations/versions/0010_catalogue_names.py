"""The catalogue names of the models that feedback is about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
_NAMES = ("card", "card_a", "card_b")


def upgrade() -> None:
    for name in _NAMES:
        op.add_column("feedback", sa.Column(name, sa.Text(), nullable=True))


def downgrade() -> None:
    for name in _NAMES:
        op.drop_column("feedback", name)
