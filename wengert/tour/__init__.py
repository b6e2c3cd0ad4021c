"""The tour: what wengert does, shown on real input in under a minute."""
