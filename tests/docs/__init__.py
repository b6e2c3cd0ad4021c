"""The documents, checked; a package, since the rows of docs/conventions.md are spread over several files."""
