"""Outgoing frames, and the queue of each connection that sends them."""
