"""Measures Redeliver, and what else its users could do: `make bench`. Not for: tests."""
