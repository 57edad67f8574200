"""What operators observe besides the log: metrics and spans. Knows nothing of NATS or HTTP."""
