"""Twenty-five bulletins rebuilt from three public documents; every kind occurs, every file names its source."""
