"""View models: one for each template. Everything that a template would have to decide is decided here.

A view model holds pieces of Python that its template prints, and the imports that these pieces need: whatever makes a piece
of text tells `Imports` which names it uses.
"""
