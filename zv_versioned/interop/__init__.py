"""Other formats and tools, a module each."""
