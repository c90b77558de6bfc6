"""The dashboard: pages, styles and scripts of our own under /dashboard; their data comes from /admin. `router()` is what gateway.app includes."""

from gateway.dashboard.pages import router

__all__ = ["router"]
