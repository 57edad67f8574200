"""Live data: one connection, one copy of what all screens show, bounded whatever happens."""
