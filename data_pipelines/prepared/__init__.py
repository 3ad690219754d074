"""What is prepared of a data set: its tables, as images and queries, and what identifies their content."""
