"""Runs that are executed elsewhere than on the code host, where `tenant.yaml` says so: launched, executed, ended."""
