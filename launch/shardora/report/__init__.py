"""What a run's folder says, as a page, as event files, and as it grows."""
