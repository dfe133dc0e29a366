"""The web app: session, jobs, tabs, named endpoints, the page's own scripts and styles."""
