"""``dagnats demo``: a private server, real workflows, and the commands one would type."""

from __future__ import annotations

from dagnats.demo.show import run_demo

__all__ = ["run_demo"]
