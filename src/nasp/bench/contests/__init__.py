"""Which strategy finds what, by tables of all accuracies, at equal cost."""
