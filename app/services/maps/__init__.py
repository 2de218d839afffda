"""Maps of a corpus: what is alike lies together, in clusters with readable names."""
