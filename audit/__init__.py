"""What happened: entries, chain and tree, checkpoints, tiles, and their verification offline."""
