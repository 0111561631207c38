"""Who may say what: algorithms, signatures, sealing, key files, certificates, rosters, manifests."""
