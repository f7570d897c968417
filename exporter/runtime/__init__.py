"""One Backend per file; each imports its vendor's library only when it is opened."""
