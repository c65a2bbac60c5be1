"""Transcripts that any client can be run against: a scripted server says its part, and checks what the client does."""
