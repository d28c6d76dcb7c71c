.DEFAULT_GOAL := help
.PHONY: help up down status doctor test test-unit compose-test check bench venv dev docs compatibility proto lock

PY := .venv/bin

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: venv ## Install what is missing, start Sandbank, greet from a sandbox, print what to paste; DOMAIN=name serves below that name
	@scripts/up.sh $(if $(DOMAIN),--domain $(DOMAIN))

down: ## Stop Sandbank and all its sandboxes
	@test ! -x $(PY)/sandbank || $(PY)/sandbank down

status: venv ## Say whether Sandbank runs
	@$(PY)/sandbank status

doctor: venv ## Look at what Sandbank needs of this machine
	@$(PY)/sandbank doctor

test: dev ## Run all tests; as root, since sandboxes are part of them
	@scripts/test-packages.sh postgresql redis-server mmdebstrap nftables iproute2 xfsprogs curl wrk chromium libnss3-tools docker-registry skopeo busybox docker.io default-jdk-headless
	@scripts/criu.sh
	@PATH="$(CURDIR)/$(PY):$$PATH" $(PY)/pytest $(ARGS)

test-unit: dev ## Run the tests that need neither root nor servers
	@PATH="$(CURDIR)/$(PY):$$PATH" $(PY)/pytest tests/unit $(ARGS)

compose-test: dev ## Start the docker-compose stack from nothing, run the official SDKs against it, remove it
	@PATH="$(CURDIR)/$(PY):$$PATH" scripts/compose-test.sh $(ARGS)

check: dev ## Look at the code: ruff, mypy, the import contract
	$(PY)/ruff check
	$(PY)/ruff format --check
	$(PY)/mypy
	$(PY)/lint-imports

bench: dev ## Measure, side by side with runc, docker and nginx
	@scripts/test-packages.sh wrk nginx-light runc buildah
	@PATH="$(CURDIR)/$(PY):$$PATH" $(PY)/python -m benchmarks

venv:
	@scripts/bootstrap.sh runtime

dev:
	@scripts/bootstrap.sh dev

docs: venv ## Write the table of settings again
	@$(PY)/python scripts/settings_manual.py

compatibility: dev ## Run all pinned releases of the official clients and write the page of what they can do
	@PATH="$(CURDIR)/$(PY):$$PATH" $(PY)/python scripts/sdk_compatibility.py

proto: ## Generate the wire messages again
	$(PY)/python -m grpc_tools.protoc -I src/sandbank/contracts/proto --python_out=src/sandbank/contracts/_gen --pyi_out=src/sandbank/contracts/_gen src/sandbank/contracts/proto/*.proto

lock: ## Resolve the dependencies again
	$(PY)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/runtime.lock
	$(PY)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --group dev -o requirements/dev.lock
