"""Reading: what is asked for, which bytes that takes, and what is made of them.

`query` checks what a read asks for and plans it; `reader` finds cells and reads
them, batch by batch; `gather` puts the answer together, window by window. What
was removed (`removed`), links (`links`) and values that are not numbers
(`values`) have a module each.
"""
