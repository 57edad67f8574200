"""Everything the command line prints: tables, documents, colours, times."""
