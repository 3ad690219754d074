"""Workdirs, and the conditions for a run to come back to one."""
