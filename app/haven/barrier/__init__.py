"""Encryption of everything that is stored: shares, key terms, seals, and views of plaintext."""
