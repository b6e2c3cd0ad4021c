"""Staging: one call of a function as a Wengert list, with what the list depends on."""
