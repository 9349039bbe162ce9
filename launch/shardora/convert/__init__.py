"""Configurations of other tools: a table of their keys each."""
