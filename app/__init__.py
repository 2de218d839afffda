"""The application: composition, services, screens, command line and REST."""
