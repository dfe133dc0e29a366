"""The held-out test texts that ship with the project; see README.md beside this file."""
