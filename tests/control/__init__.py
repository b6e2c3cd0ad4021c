"""Loops and branches as values, beside plain Python loops."""
