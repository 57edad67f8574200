"""How the model lies on NATS: subjects, ids, streams and buckets. The only importer of nats."""
