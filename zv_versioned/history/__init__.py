"""History: what was committed, by whom, and when."""
