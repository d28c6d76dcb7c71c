"""The docker-compose stack from outside; `make compose-test` starts it and runs these."""
