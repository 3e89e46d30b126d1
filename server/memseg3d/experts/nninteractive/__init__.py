"""nnInteractive's models through the published package, in an environment and a child process of their own."""
