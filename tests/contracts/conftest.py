"""Real servers for the halves that need one."""

from __future__ import annotations

from tests.contracts.redis_server import redis, redis_socket
from tests.product.postgres import database, database_url, postgres, postgres_server

__all__ = ["database", "database_url", "postgres", "postgres_server", "redis", "redis_socket"]
