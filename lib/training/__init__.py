"""The one training loop: recipe, device, scores."""
