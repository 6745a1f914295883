"""View models: one for each template. Everything that a template would have to decide is decided here.

A view model holds pieces of Python that its template prints, and the imports that these pieces need: the code that makes a
piece also adds the names that it uses to `Imports`.
"""
