"""Our small asyncio vocabulary: named, owned tasks and teardown that finishes. Nothing else starts raw tasks."""
