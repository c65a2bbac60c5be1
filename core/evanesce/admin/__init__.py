"""The interface for operators: HTTP on an address of its own, which is off unless the configuration has a token."""
