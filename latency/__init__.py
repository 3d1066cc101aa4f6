"""What a network costs on real hardware: targets, timing, tables, predictions. Knows no cluster."""
