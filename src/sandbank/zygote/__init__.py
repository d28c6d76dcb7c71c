"""The process that sandboxes are forked from. Started by module name, single-threaded, without credentials."""
