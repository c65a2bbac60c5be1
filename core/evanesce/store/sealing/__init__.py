"""Encryption of content at rest: what the message store holds cannot be read without keys that only servers have.

`messages.encrypt_at_rest` enables it; `docs/explanation/encryption-at-rest.md` says what it protects and what not. It
needs the extra `encryption` (the package `cryptography`), so only what is configured to use it imports this package.
"""
