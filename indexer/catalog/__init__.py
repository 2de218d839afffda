"""The catalog in SQL: what is in every corpus (``corpora``), runs and their leases, and what people leave in it.

SQLAlchemy stays in this package: what others ask of it they ask in plain values.
"""
