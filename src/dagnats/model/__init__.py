"""What things are: definitions, runs, events, tasks, triggers, and the rules on them.

Pure values and functions: no I/O, no clock, no randomness.
"""
