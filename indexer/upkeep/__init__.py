"""What keeps an index right once it is built: checks, versions, schedules, backups, moves."""
