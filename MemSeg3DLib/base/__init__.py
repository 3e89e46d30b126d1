"""What every package needs and no other knows of: errors, signals, packed bits, threads, processes, files."""
