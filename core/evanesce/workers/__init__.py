"""Several processes that serve on the same ports, and the supervisor that starts and restarts them.

The supervisor's program is `supervisor.py`; `worker.py` starts the process of one worker, and starts it again when it
ends. Each worker is a whole server, and is connected with the supervisor by a channel (`channel.py`).
"""
