"""What `keyweave demo` is made of: the steps of the example, and what each of them does to the keys."""
