"""Who may see and do what: login, users and roles, and the storages that know their user."""
