"""Log records, spans and metrics of a process on their way to stream TELEMETRY (``wire.md`` 11)."""
