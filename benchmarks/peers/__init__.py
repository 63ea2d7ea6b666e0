"""What others do about failed deliveries, each written the way its users write it. Not for: us."""
