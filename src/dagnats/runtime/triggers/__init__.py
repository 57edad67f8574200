"""What starts workflows by itself: cron, NATS subjects, webhooks, HTTP requests, other kinds.

Definitions lie in the bucket ``triggers``; :mod:`.service` follows it and hands each trigger to the
room of its kind. Every start has a run id and a message id that depend on its cause only, so that
several servers, restarts and redeliveries make one run per cause.
"""
