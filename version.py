"""The version of the app, by Semantic Versioning; the connector and the changelog have the same."""

VERSION = "1.0.0"
