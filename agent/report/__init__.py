"""What people see of a campaign: on a terminal, in plain text, as a page and as plots."""
