"""What one iteration costs, beside rivals: seconds and memory."""
