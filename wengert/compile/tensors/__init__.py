"""A program as loops over memory: the tensor form, the lowering of a Wengert list to it, and what makes it fast."""
