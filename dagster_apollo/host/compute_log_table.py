"""The table of what runs print, in the instance's Postgres: chunks of a stream in their order.

A chunk is written once and never changed, so that a reader needs no lock; `complete` marks a stream whose process has
said everything. Who writes and reads them is `compute_logs.py`.
"""

from __future__ import annotations

import sqlalchemy

LOG_TABLES = sqlalchemy.MetaData()

# `log_key` is Dagster's, its parts joined by `/`; `stream` is `out` or `err`; `position` its first byte's offset.
CHUNKS = sqlalchemy.Table(
    "apollo_compute_logs",
    LOG_TABLES,
    sqlalchemy.Column("log_key", sqlalchemy.Text, primary_key=True),
    sqlalchemy.Column("stream", sqlalchemy.String(3), primary_key=True),
    sqlalchemy.Column("position", sqlalchemy.BigInteger, primary_key=True),
    sqlalchemy.Column("content", sqlalchemy.LargeBinary, nullable=False),
    sqlalchemy.Column("complete", sqlalchemy.Boolean, nullable=False, server_default=sqlalchemy.false()),
    sqlalchemy.Column(
        "written_at", sqlalchemy.DateTime(timezone=True), nullable=False, server_default=sqlalchemy.func.now()
    ),
    sqlalchemy.Index("apollo_compute_logs_by_age", "written_at"),
)
