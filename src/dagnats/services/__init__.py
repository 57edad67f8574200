"""Every operation an operator can do, typed, printing nothing.

CLI, console and HTTP API are three faces of this package and hold no logic of their own.
"""
