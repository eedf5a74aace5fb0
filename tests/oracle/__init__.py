"""Definitions in float64, written from the formulas and not from the package: slow, plain, and told apart by form."""
