"""What Dagster then shows and allows: permissions by tenant, and storages that know their user."""
