"""What the user can mend."""


class UserError(Exception):
    """Its message is for the user, and says what to do; any other exception is a bug."""
