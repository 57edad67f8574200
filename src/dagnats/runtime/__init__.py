"""The shell round the machine: consume, decide, publish, snapshot, acknowledge."""
