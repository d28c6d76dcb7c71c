"""The history of the schema, one for both dialects. Alembic runs `env.py`; nothing imports it."""
