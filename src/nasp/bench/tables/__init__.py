"""What is known of a space: the accuracy of every cell, trained alone; two such tables."""
