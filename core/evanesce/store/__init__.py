"""Where messages live and die: the message store's interface, and Redis behind it."""
