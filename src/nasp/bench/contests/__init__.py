"""Which strategy finds what, against the truth, at equal cost."""
