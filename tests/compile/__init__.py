"""The compiler, room by room."""
