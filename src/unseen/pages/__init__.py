"""Figures and pages drawn from the records: no model, no torch."""
