"""Which images and texts make a query: the tables in memory, and how training triplets are drawn."""
