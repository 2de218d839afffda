"""Where documents come from: a folder, or an address; what is there, and what changes."""
