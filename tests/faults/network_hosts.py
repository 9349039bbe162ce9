"""Hosts on one machine: network namespaces with names of their own, joined by a bridge and real TCP. Needs root."""
import os
import pathlib
import shutil
import signal
import subprocess
import time

TOOLS = ("ip", "nsenter", "unshare")


def missing():
    """Why there can be no such hosts here, or the empty text."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        return f"{', '.join(lacking)} not found: launch/install.sh cluster-tests"
    if os.geteuid() != 0:
        return "network namespaces need root"
    probe = subprocess.run(["unshare", "--net", "--uts", "true"], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "this container allows no network namespaces"


def command(*words):
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


class Hosts:
    """`names` are the hosts'; `addresses` theirs on `network`; the machine itself is `gateway`."""

    def __init__(self, count):
        tag = os.getpid() % 10000
        self.bridge, self.prefix = f"f{tag}b", f"10.{100 + tag % 100}.0."
        self.names = [f"f{tag}h{number}" for number in range(1, count + 1)]
        self.addresses = [f"{self.prefix}{number}" for number in range(1, count + 1)]
        self.network, self.gateway = f"{self.prefix}0/24", f"{self.prefix}254"

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self):
        command("ip", "link", "add", self.bridge, "type", "bridge")
        command("ip", "addr", "add", f"{self.gateway}/24", "dev", self.bridge)
        command("ip", "link", "set", self.bridge, "up")
        for name, address in zip(self.names, self.addresses):
            command("ip", "netns", "add", name)
            command("ip", "link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
            command("ip", "link", "set", f"{name}v", "master", self.bridge)
            command("ip", "link", "set", f"{name}v", "up")
            command("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            command("ip", "-n", name, "link", "set", "lo", "up")
            command("ip", "-n", name, "link", "set", "eth0", "up")

    def __exit__(self, *_):
        for name in self.names:
            self.kill_all(name)
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
            subprocess.run(["ip", "link", "del", f"{name}v"], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["ip", "link", "del", self.bridge], stderr=subprocess.DEVNULL, check=False)

    def processes(self, name):
        listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
        return [int(word) for word in listed.stdout.split()]

    def kill_all(self, name):
        """What a lost host does to its processes."""
        for _ in range(50):
            left = self.processes(name)
            for process in left:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not left:
                return
            time.sleep(0.1)

    def on(self, name, *words):
        """The command line that runs `words` on a host. nsenter, not `ip netns exec`, which would hide /sys."""
        return ["nsenter", f"--net=/run/netns/{name}", "unshare", "--uts", "bash", "-c", 'hostname "$0"; exec "$@"', name,
                *map(str, words)]

    def cut(self, name):
        """Pulls the host's cable out."""
        command("ip", "link", "set", f"{name}v", "down")

    def join(self, name):
        """Puts it in again; returns as packets go through both ways, which takes the kernel a moment."""
        command("ip", "link", "set", f"{name}v", "up")
        for _ in range(100):
            if all(self._reach(first, address) for first in self.names for address in self.addresses):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{name} is not reached after its link is up again")

    def _reach(self, name, address):
        probe = ["nsenter", f"--net=/run/netns/{name}", "timeout", "1", "bash", "-c", f": >/dev/tcp/{address}/9"]
        return "refused" in subprocess.run(probe, capture_output=True, text=True, check=False).stderr

    def remote_shell(self, folder):
        """A stand-in for ssh: its path. It stays on the caller's host as ssh's client does, and does not hear of a host
        that dies with its link cut. The last words are one command, as ssh's are."""
        file = pathlib.Path(folder) / "remote_shell"
        file.write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nhost=$1; shift\n'
                        'nsenter --net=/run/netns/"$host" unshare --uts bash -c '
                        '\'hostname "$0"; exec bash -c "$1"\' "$host" "$*"\nstatus=$?\n'
                        'cut() { ip -n "$host" link show eth0 | grep -q NO-CARRIER; }\n'
                        'while ((status > 128)) && cut; do sleep 0.2; done\n'
                        'exit $((status > 128 ? 255 : status))\n')
        file.chmod(0o755)
        return file
