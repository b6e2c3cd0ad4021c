"""The mutation table: what NumPy does when a program writes, and what wengert must therefore do."""
