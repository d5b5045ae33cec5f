"""Reading: what is asked for, which bytes that takes, and what is made of them.

`query` checks what a read asks for and plans it, `reader` finds the cells, with
`batch_indexes` for what batches say of themselves, and `fetch` brings their bytes
into one buffer; `gather` puts the answer together, window by window. What was
removed (`removed`), links (`links`), text and times (`values`) and conditions
(`where`) have a module each. `level_values`, `measures` and `conversions` are what
:class:`~zv_versioned.Level` answers with them.
"""
