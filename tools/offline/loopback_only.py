"""Offline means offline: once `block()` has run, this process reaches no address but its own machine's.

A blocked call raises `OSError`, as a pulled cable would. A library may swallow that, so the host is also written
to the file named by `OFFLINE_LOG`; whoever started the process looks there afterwards. Names under `.invalid` are
reserved for examples and resolve nowhere: they fail in the ordinary way and are not reported.
"""
import errno
import ipaddress
import os
import socket


def is_local(host) -> bool:
    "Does `host` (name or address, as any socket call takes it) mean this machine?"
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "", "localhost", "ip6-localhost", "<broadcast>", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse(host) -> None:
    "Raise for every `host` but this machine"
    if is_local(host):
        return
    if str(host).endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if log := os.environ.get("OFFLINE_LOG"):
        with open(log, "a", encoding="utf-8") as f:
            f.write(f"{host}\n")
    raise OSError(errno.ENETUNREACH, f"tests run offline, but something tried to reach {host!r}")


def guarded(call, address_at: int):
    "A socket method that looks at its address argument first; addresses that are no tuple are local (Unix sockets)"
    def method(self, *args, **kwargs):
        address = args[address_at]
        if isinstance(address, tuple):
            refuse(address[0])
        return call(self, *args, **kwargs)
    return method


def looked_up(call):
    "A name look-up that refuses foreign names before it asks anybody"
    def lookup(host, *args, **kwargs):
        refuse(host)
        return call(host, *args, **kwargs)
    return lookup


def block() -> None:
    "From now on: loopback only"
    if getattr(socket, "loopback_only", False):
        return
    socket.loopback_only = True
    socket.socket.connect = guarded(socket.socket.connect, 0)
    socket.socket.connect_ex = guarded(socket.socket.connect_ex, 0)
    socket.socket.sendto = guarded(socket.socket.sendto, -1)
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        setattr(socket, name, looked_up(getattr(socket, name)))
