"""Pages, opened where the user looks at pages."""

import os
import sys
import webbrowser

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def shown_in_browser(url: str) -> bool:
    """Open a page in the user's browser; return False where there is none.

    Without a display a browser of texts would take the terminal: it is asked for by ``$BROWSER`` alone.
    """
    if sys.platform not in ("darwin", "win32") and not any(os.environ.get(name) for name in DISPLAYS):
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
