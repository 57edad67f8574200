"""Believable traffic for the console: seven workflows, workers, and somebody who starts runs."""
