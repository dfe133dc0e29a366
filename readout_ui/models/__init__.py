"""A language model that is ready to be used: found, loaded, with its template and tokens."""
