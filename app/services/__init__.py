"""What the product does, as functions that pages, commands and REST are thin over."""
