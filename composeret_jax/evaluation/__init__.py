"""Encodes the gallery and the queries, ranks the gallery for each query, and counts recalls."""
