"""The pipeline's two Python steps, run as programs: natively or in the tenant's image, by the same words."""
