"""Where frames come from and where commands go: files, cameras, the drone, the simulator."""
