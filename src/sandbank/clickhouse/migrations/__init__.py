"""Numbered steps of the schema: `0001_name.sql`, up first, what undoes it below `-- down`. See `sandbank.clickhouse.schema`."""
