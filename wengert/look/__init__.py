"""The Wengert list, made visible: as a table, as a picture."""
