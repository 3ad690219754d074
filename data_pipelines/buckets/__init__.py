"""Folders in buckets (`gs://`, `s3://`): their addresses, and local copies of what they hold."""
