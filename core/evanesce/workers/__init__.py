"""Several processes that serve on the same ports, and the one that looks after them.

`supervisor.py` is the program of the parent: it starts the workers, passes signals on and restarts one after the other.
`worker.py` keeps one of them running. Each is a whole server of its own, at the other end of a `line.py`.
"""
