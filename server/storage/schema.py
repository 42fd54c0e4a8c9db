"""The tables. Amounts are whole picodollars, times are whole microseconds since 1970 (UTC)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

metadata: Final = MetaData()

attempts: Final = Table(
    "attempts",
    metadata,
    Column("request_id", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("instance", String(64), nullable=False),
    Column("key_name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("upstream_id", Text),
    Column("routed", Boolean, nullable=False),
    Column("streamed", Boolean, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Column("outcome", String(16), nullable=False),
    Column("reserved_pico", BigInteger, nullable=False),
    Column("expected_pico", BigInteger),
    Column("cost_pico", BigInteger),
    Column("cost_source", String(16), nullable=False),
    Column("budget_pico", BigInteger),
    Column("budget_mode", String(16)),
    Column("latency_ms", Double),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("cache_write_1h_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("audio_input_tokens", BigInteger),
    Column("audio_output_tokens", BigInteger),
    Column("served_model", Text),
    Column("tags", Text),
    Column("session", String(32)),
    Column("session_budget_pico", BigInteger),
    PrimaryKeyConstraint("request_id", "attempt", name="attempts_pkey"),
)
Index("attempts_settled", attempts.c.settled_at)
Index("attempts_key_settled", attempts.c.key_name, attempts.c.settled_at)
# An index of unsettled attempts only, in PostgreSQL too: the migration creates it so. Stating it
# here would load that dialect, four megabytes of code, with SQLite as well.
Index("attempts_open", attempts.c.instance, sqlite_where=attempts.c.settled_at.is_(None))
# The same applies to these two indexes: of attempts with a session, and of those that gave it a
# budget.
Index("attempts_session", attempts.c.session, sqlite_where=attempts.c.session.is_not(None))
Index(
    "attempts_session_budget",
    *(attempts.c.started_at, attempts.c.session),
    sqlite_where=attempts.c.session_budget_pico.is_not(None),
)

# Attempts that are no longer stored, by the day of their settlement (since 1970, UTC). Columns
# outside the key are sums.
totals: Final = Table(
    "totals",
    metadata,
    Column("day", BigInteger, nullable=False),
    Column("key_name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("cost_source", String(16), nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    PrimaryKeyConstraint(
        *("day", "key_name", "model", "provider", "upstream_model", "outcome", "cost_source"),
        name="totals_pkey",
    ),
)
Index("totals_key", totals.c.key_name)

# The tagged attempts among those in `totals`, by the combination of their tags.
tag_totals: Final = Table(
    "tag_totals",
    metadata,
    Column("day", BigInteger, nullable=False),
    Column("tags", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    Column("estimated_pico", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "tags", name="tag_totals_pkey"),
)

# Adjustments from reconciling with a provider's export that belong to no single attempt.
adjustments: Final = Table(
    "adjustments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("day", String(10), nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("cost_pico", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)

# The parts that receipts share, stored once for all of them: router.receipt_form.Common.
catalogues: Final = Table(
    "catalogues",
    metadata,
    Column("version", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

receipts: Final = Table(
    "receipts",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("key_name", Text, nullable=False),
    Column("catalogue_version", String(64), nullable=False),
    Column("document", Text, nullable=False),
    # The request's attempts that are in the totals: their cost, and whether one was answered.
    Column("folded_pico", BigInteger),
    Column("folded_answered", Boolean),
)
Index("receipts_created", receipts.c.created_at)

# Filled only where storage.keep_prompts is on.
prompts: Final = Table(
    "prompts",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("messages", Text, nullable=False),
)
Index("prompts_created", prompts.c.created_at)

# Filled only where storage.keep_responses is on and the caller asks for it. A response has only its
# own input: the earlier input is stored with the response that it continues.
responses: Final = Table(
    "responses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("key_name", Text, nullable=False),
    Column("previous_id", String(64)),
    Column("n_bytes", BigInteger, nullable=False),
    Column("input", Text, nullable=False),
    Column("document", Text, nullable=False),
)
Index("responses_created", responses.c.created_at)

feedback: Final = Table(
    "feedback",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("key_name", Text, nullable=False),
    Column("model", Text),
    Column("model_a", Text),
    Column("model_b", Text),
    Column("winner", String(16)),
    Column("rating", Double),
    Column("messages", Text),
    # Catalogue names of the same models: several of these may share a column of the leaderboard.
    Column("card", Text),
    Column("card_a", Text),
    Column("card_b", Text),
)
Index("feedback_created", feedback.c.created_at)

# Answers that a checker or a judge has graded, without their texts. A grade is of one answer, or of
# an answer of `model` against one of `model_b`.
grades: Final = Table(
    "grades",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("key_name", Text),
    Column("model", Text, nullable=False),
    Column("model_b", Text),
    Column("score", Double, nullable=False),
    Column("leaderboard", Text),
)
Index("grades_created", grades.c.created_at)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("models", Text),
    Column("admin", Boolean, nullable=False),
    Column("budget_usd", Text),
    Column("window_s", BigInteger),
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("max_request_usd", Text),
    Column("session_budget_usd", Text),
    Column("shadow", Boolean),
)

# The processes that write here; one that has not been seen for a while is taken for dead.
instances: Final = Table(
    "instances",
    metadata,
    Column("instance", String(64), primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

# Small states that outlive a process, by name, such as the shadow price of a window.
states: Final = Table(
    "states",
    metadata,
    Column("name", String(300), primary_key=True),
    Column("updated_at", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)
