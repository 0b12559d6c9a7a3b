"""Pure functions on tensors that training minimizes."""
