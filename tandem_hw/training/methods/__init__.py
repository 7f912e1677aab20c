"""What a training may do beside the plain loop, a module each."""
