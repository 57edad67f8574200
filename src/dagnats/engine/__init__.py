"""The state machine: (run, event, now) -> (run, effects).

Pure: no I/O, no clock, no randomness. All workflow semantics live here, and production, time
travel, simulation and tests use the same code.
"""
