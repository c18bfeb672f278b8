"""The Kubernetes release that petset stands for."""

RELEASE = "1.33.0"
"""The release whose definitions are served and whose version number is reported."""
