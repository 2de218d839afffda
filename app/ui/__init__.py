"""The pages people see in the browser."""
