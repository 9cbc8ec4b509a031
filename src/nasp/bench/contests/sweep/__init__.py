"""Several weights or bounds in one go: error against cost."""
