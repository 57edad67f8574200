"""How the model lies on NATS: subjects, streams, buckets, publishing and reading.

The only package that imports ``nats``.
"""
