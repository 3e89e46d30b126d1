"""What keeps one caller from taking the worker away from the others: connections, bodies, drawings, disk, time."""
