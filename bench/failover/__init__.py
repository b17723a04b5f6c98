"""How long clients wait when the active node is lost, Haven and OpenBao side by side."""
