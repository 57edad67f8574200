"""Crash campaigns on a throw-away server: kill processes and see what becomes of the runs.

``dagnats verify`` does it with a user's own workflow and worker, ``make faults`` with ours.
"""
