"""A data set's prepared tables, as images and queries, and the identity of their content."""
