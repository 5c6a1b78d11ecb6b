"""The tools, one file each: who asks, may they, ask, answer."""
