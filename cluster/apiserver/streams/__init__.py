"""The streaming protocols of Kubernetes' clients, without I/O: bytes and messages in, events and bytes out.

channels.py    v4/v5.channel.k8s.io: WebSocket messages of exec and attach
spdy.py        SPDY/3.1: many streams in one byte stream
pairing.py     port-forward: which streams belong together, and the channels of the Python clients
"""
