"""What comes in from outside, opened and made plain: recordings, videos and PDFs.

Only the prepare stage calls this; everything after it works on decoded audio and cut passages.
"""
