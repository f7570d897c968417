"""From trained weights to engines, and the runtimes that execute them."""
