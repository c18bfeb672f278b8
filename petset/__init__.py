"""petset: a Kubernetes cluster small enough to take apart, focused on StatefulSets.

The folders of the repository's top level are this package's subpackages (`petset.cluster`, `petset.dns`,
`petset.actors`, `petset.petapp`); `petset/` holds only this file, `__main__` and links to them, so that
no top-level module called `dns` or `cluster` ever reaches a user's environment.
"""

__version__ = "0.1.0"
