"""The map page: what a corpus holds, as islands on a plane."""
