.DEFAULT_GOAL := help
.PHONY: help venv proto lock

PY := .venv/bin

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

proto: ## Generate the wire messages again
	$(PY)/python -m grpc_tools.protoc -I src/sandbank/contracts/proto --python_out=src/sandbank/contracts/_gen --pyi_out=src/sandbank/contracts/_gen src/sandbank/contracts/proto/*.proto

lock: ## Resolve the dependencies again
	$(PY)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/runtime.lock
	$(PY)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --group dev -o requirements/dev.lock
