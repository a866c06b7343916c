"""An invented whisky company, whose books `generate_seeds.py` writes as this project's seeds."""
