"""What serves: the instance, the code locations, and the processes of a laptop's stack."""
