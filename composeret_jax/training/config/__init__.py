"""Checks of a configuration, before data and model are made."""
