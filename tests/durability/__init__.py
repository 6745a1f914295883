"""The option `durable`: confirmed writes, their errors, and what servers lose in spite of them."""
