"""The REST interface: vectors and search for programs, beside the pages and in their process."""
