"""What `wellhead doctor` looks at: the machine, the home, and the workspace with its sources."""
