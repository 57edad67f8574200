"""The console: `dagnats ui`. Nothing is imported here; the command imports what it needs."""
