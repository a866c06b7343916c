"""Telling people of failures: who is told is in `tenant.yaml`, how is Apprise's."""
