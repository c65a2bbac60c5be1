"""Transports: how frames travel between Evanesce and its clients."""
