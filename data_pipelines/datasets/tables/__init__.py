"""How prepared tables are kept."""
