"""``dagnats serve``: configuration, the embedded nats-server, and what runs beside it."""
