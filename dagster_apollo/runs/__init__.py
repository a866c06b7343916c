"""What runs are made of: where their records are kept, who launches them, how they are taken up again."""
