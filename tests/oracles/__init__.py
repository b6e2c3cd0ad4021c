"""Other systems as oracles: small programs, written once, that all of them must agree on."""
