"""Pages that are made from proofs: HTML, style, the script of the page that verifies itself."""
