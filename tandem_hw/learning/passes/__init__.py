"""How a forward pass of the training is run where the device is not to be waited for."""
