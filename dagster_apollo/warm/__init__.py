"""A tenant kept warm, and the runs that are forked from it.

The warm process has loaded, parsed and compiled what a run needs; a run is its fork, and dbt a fork of the run's own
dbt parent. What asks for runs, and how a tenant's process comes to be, is the code host's.
"""
