"""Who asks: the login page, OpenID Connect, passwords, tokens, sessions, and what stands before every route."""
