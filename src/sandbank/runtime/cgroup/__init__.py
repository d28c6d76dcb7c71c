"""One cgroup per sandbox, on the unified hierarchy or on version 1 and hybrids of both."""
