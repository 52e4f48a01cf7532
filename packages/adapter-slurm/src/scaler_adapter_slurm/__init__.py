"""The Scaler worker adapter that has Slurm run worker groups as jobs, on demand."""
