"""What several families need: no family imports another."""
