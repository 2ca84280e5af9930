"""The page of a campaign: one file that opens from disk, or the same live on loopback.

``data`` says what it tells, ``texts`` holds its long texts small, ``build`` puts it together,
``server`` shows it live. Its scripts make every text a text node, so that nothing which a model
wrote is ever markup; the Content-Security-Policy names their hash and allows no other.
"""
