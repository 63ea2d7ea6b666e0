"""Claim, send, record the outcome: the one way in which failed requests are reprocessed."""
