"""Volume and prompts in, labelmaps out: slices, regions, memory, tracker, rounds."""
