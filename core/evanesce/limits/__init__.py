"""Rate limits: a token bucket in memory, one that all servers share, and the limits of commands."""
