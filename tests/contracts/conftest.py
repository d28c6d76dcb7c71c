"""Real servers for the halves that need one."""

from __future__ import annotations

from tests.product.postgres import database, database_url, postgres, postgres_server

__all__ = ["database", "database_url", "postgres", "postgres_server"]
