"""Accounts: signing in and out, tokens, profiles, rooms and their creators, erasure, and notices to all servers."""
