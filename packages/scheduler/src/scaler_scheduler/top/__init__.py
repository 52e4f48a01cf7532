"""The command `scaler_top`: shows what a scheduler's monitor feed reports."""
