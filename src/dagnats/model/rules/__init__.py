"""The rules on workflow definitions and triggers, one module per concern.

Every rule yields :class:`~dagnats.model.problems.Problem`; none raises. The texts are those of
``wire.md`` 7.6 and 9.2 where the reference has one.
"""
