"""The effects of a change of a schema: on code, on stored data, and on old and new code side by side.

`compare` pairs the parts of two schemas and applies every rule to the pairs; a rule is a small function in one of the
`of_*` modules. Everything here is pure: schemas become findings, and findings become texts.
"""
