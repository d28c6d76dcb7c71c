"""ClickHouse: product data in columns; a server or the engine embedded in a process of its own."""
