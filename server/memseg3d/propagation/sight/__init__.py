"""How a network sees an object: regions of slices, resampled images, features, prompts in network pixels."""
