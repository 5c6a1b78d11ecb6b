"""What a person's own files say about themselves: a first contract, policy and semantics to be corrected."""
