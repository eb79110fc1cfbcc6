"""An independent reader of dtar's formats, written from the pages alone."""
