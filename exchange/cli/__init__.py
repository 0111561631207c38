"""The commands: what people type, and what they are told. Words, hints and exit codes are made here and nowhere else."""
