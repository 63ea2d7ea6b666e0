"""What is measured, and against what: `make bench`. Not for: tests; nothing here can fail."""
