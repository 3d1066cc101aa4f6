"""What every candidate of a space costs on a target: measured, calibrated, kept, and summed up for networks."""
