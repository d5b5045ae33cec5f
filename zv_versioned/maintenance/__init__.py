"""Keeping a repository sound and small: what checks it, what counts it, what makes it smaller."""
