"""The demo: a short story on real data, told by ``zv-versioned demo``.

``data`` finds and reads the example neurons, ``story`` is what happens to the
repository, ``picture`` draws points with characters, ``show`` prints it all.
"""
