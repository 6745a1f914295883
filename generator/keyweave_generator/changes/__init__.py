"""What a change of a schema does to code, to stored data, and to old and new code side by side.

`comparing` pairs the parts of two schemas and asks every rule about them; a rule is a small function in one of the
`of_*` modules. Everything here is pure: schemas in, findings out, and texts made of them.
"""
