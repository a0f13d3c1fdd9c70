"""What is there to learn from: clips and their labels, looked over, decoded once, and handed out in batches."""
