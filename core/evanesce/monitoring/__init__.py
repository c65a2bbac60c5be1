"""What a server measures of itself beside its work, and the metrics of several workers together."""
