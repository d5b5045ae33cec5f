"""Space: the grid of a level, boxes, and which vertex lies in which cell."""
