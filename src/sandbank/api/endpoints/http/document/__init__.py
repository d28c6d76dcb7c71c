"""The API's own OpenAPI document: what clients may send, what they get, with every status."""
