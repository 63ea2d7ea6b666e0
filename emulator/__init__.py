"""Stands in for Azure on one machine, for trying things out and for tests; never deployed."""
