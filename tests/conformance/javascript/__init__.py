"""What the JavaScript SDK gets from a sandbox: cases for Node's own test runner, reported one by one."""
