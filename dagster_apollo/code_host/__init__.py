"""What serves the tenants: a first process that keeps secrets, a front, a zygote, and the tenants' own processes."""
