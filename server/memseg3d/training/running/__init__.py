"""What every training run needs: states on disk, logs, several processes, and by what code weights were made."""
