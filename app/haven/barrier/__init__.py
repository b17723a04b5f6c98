"""The encryption barrier: keyring, Shamir shares and seals."""
