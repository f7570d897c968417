"""Low-light enhancers behind one interface: RGB 0..1 in, RGB 0..1 out."""
