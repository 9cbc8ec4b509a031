"""What a search costs: measured side by side, each row in a process of its own."""
