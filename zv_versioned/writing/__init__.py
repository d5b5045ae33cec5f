"""Writing: what a transaction stages, and what has to be right before it does.

`stage` is the staged side of one level; `append`, `attributes`, `remove` and
`levels` change it. The `writer_` modules are the verbs of
:class:`~zv_versioned.ZVWriter`, by what they are about.
"""
