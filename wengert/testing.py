"""Checks of derivatives (being written)."""
