"""Changes become one plan, which is applied once. A refusal is returned, not cleaned up."""
