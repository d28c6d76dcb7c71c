"""Wire messages: generated from `proto/` by `make proto`, reached only through the modules here."""
