"""The wire protocol, version 1, without any I/O: bytes to commands, replies and events to bytes."""
