"""The life of a server process: what is checked before it starts, the signals that end it, and how it restarts."""
