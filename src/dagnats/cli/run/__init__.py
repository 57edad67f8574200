"""``dagnats run``: one module per kind of work, all registering on one app."""

from dagnats.cli.run import start  # noqa: I001 - the order of import is the order in the help
from dagnats.cli.run import read
from dagnats.cli.run import change
from dagnats.cli.run import bulk
from dagnats.cli.run import study
from dagnats.cli.run import trace
from dagnats.cli.run.app import app

__all__ = ["app", "bulk", "change", "read", "start", "study", "trace"]
