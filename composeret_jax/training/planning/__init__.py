"""Compiles the step of a configuration for devices, present or not, and says what it needs of them."""
