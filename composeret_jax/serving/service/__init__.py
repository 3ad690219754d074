"""The search service: versioned JSON over HTTP, with limits for strangers, on one index that is taken up anew."""
