"""The SQL database: models, sessions, migrations."""
