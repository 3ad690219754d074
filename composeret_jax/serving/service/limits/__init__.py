"""Bounds of the work that strangers can cause."""
