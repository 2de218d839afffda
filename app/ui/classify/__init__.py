"""The page on which texts are given labels."""
