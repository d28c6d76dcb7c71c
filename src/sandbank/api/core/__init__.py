"""The rules of the API, one module per operation. Pure: frameworks, stores and peers are behind the protocols of `ports`."""
