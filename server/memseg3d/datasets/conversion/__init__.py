"""From one layout to another, case by case: nothing half-written, and going on where it was stopped."""
