"""Tasks for workers behind HTTP (``wire.md`` 13.2).

Nothing about a task that was handed out is kept here: its id carries, signed, all that is needed to
say what became of it. So a worker's result is good after a restart, and on any server.
"""
