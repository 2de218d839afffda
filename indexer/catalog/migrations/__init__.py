"""The catalog's schema, one step per file, read downward like a diary."""
