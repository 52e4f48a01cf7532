"""The protocol of Scaler: messages, their Cap'n Proto encoding, identifiers and addresses. Imports nothing of ours."""
