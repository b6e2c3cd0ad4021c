"""The native entry: what a jitted function checks, and makes, around the machine code of its list."""
