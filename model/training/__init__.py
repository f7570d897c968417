"""Training of the tracker (torch); nothing here is imported in flight."""
