"""From float weights and activations to eight bits."""
