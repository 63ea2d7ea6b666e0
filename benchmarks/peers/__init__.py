"""Ways to have failed requests reprocessed, each as its users write it, and Redeliver's own routes."""
