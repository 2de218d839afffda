"""Vector stores: one protocol, and Qdrant behind it, as Edge in the process or as a server."""
