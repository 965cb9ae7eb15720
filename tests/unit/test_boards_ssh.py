"""The ssh transport: nothing but checked words on its command line, and clear errors for what ssh says."""

import contextlib
import ipaddress
import pickle
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hakd.boards import Device, agent, ssh
from hakd.boards.device import REACH_KEYS, SSH_KEYS, parse_jump
from hakd.boards.lost import LinkLost
from hakd.records.errors import HakdError
from hakd.study.configuration import check_study
from hakd.study.schema import check_entry
from tests.unit.studies import CONFIG

TEXT_FIELDS = ("host", "user", "identity_file", "known_hosts", "jump", "python", "lock_path")
HOSTILE = [
    "-oProxyCommand=touch x",
    "--",
    "-",
    "a\nb",
    "board\n",
    "\n",
    "`id`",
    "$(id)",
    "${HOME}",
    "a b",
    " board",
    "%h",
    "a;b",
    "a|b",
    "a&b",
    "a'b",
    'a"b',
    "a\\b",
    "a\0b",
    "",
    "é",
    "*",
    "{device}",
    "#",
    "!id",
    "a\tb",
    "board\u2028",
    "pi4%eth0",
    "10.0.0.7%eth0",
    "fe80::1%",
    "fe80::1%-o",
    "fe80::1%eth0%eth1",
    "fe80::1%$(id)",
    "a" * 300 + "%",
]
# What OpenSSH takes for a host and a user.
NAMES = {
    "host": ["fe80::1%eth0", "FE80::1%br-lan.7", f"{'board.' * 41}lab.net", "John-s.board"],
    "user": ["john.doe", "JohnDoe", "1000", "_apt", "build+arm", "a" * 200],
}
PLAIN = {
    "host": "127.0.0.1",
    "user": "pi",
    "identity_file": "keys/id",
    "known_hosts": "keys/known_hosts",
    "jump": "me@gate.lab:2222",
    "python": "/opt/venv/bin/python3",
    "lock_path": "/run/hakd.lock",
}
# What shells, ssh's own parser and its %-tokens give a meaning to.
SPECIAL = set(" \t\n\r\0\"'`$\\;&|<>(){}*?!#%,=^")


def board(**changes) -> Device:
    return Device.from_config("pi4", {"transport": "ssh", "host": "pi4.lab", **changes})


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory with the key file that PLAIN names; nothing is pinned in the checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ssh, "CHECKOUT", tmp_path / "checkout")
    Path("keys").mkdir()
    Path("keys/id").touch()


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_hostile_values_are_refused_in_every_field(field, value):
    with pytest.raises(HakdError) as caught:
        board(**{field: value})
    assert caught.value.key == field and caught.value.remedy and str(caught.value).isprintable()


NASTY = st.text(alphabet="aZ09._-/~@:[]%$`'\"\\ \n;|&(){}*?#!=", max_size=80)


@pytest.mark.parametrize("field", TEXT_FIELDS)
@given(value=st.text() | NASTY | st.sampled_from(HOSTILE))
def test_no_field_puts_anything_special_on_a_command_line(field, value):
    """Whatever a device file holds: it is refused, or every word of the command line is plain."""
    try:
        device = board(**{**PLAIN, field: value})
    except HakdError as refused:
        error: HakdError | None = refused
    else:
        error = None
    if error is not None:
        assert error.key == field
        return
    words = [*_words(ssh.flags(device)), device.host, device.lock_path]
    assert not any(set(_address(word)) & SPECIAL for word in words if word not in _CONSTANTS)
    assert not any(
        word.startswith("-") for word in (device.host, device.user, device.python, device.lock_path)
    )
    head, boot = ssh.remote_command(device).split(" ", 2)[:2], agent.BOOT
    assert ssh.remote_command(device) == f"exec {head[1]} -u -c '{boot}'" and not set(head[1]) & SPECIAL


def _address(word: str) -> str:
    """A word; an IPv6 address without its interface."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.IPv6Address(word)).partition("%")[0]
    return word


def _words(flags: list[str]) -> list[str]:
    """All words, those of the jump host's command too, as the ssh of the jump host gets them."""
    found = []
    for word in flags:
        if word.startswith("ProxyCommand="):
            inner = shlex.split(word.removeprefix("ProxyCommand="))
            assert shlex.join(inner) == word.removeprefix("ProxyCommand=")
            at = inner.index("[%h]:%p")
            assert "%" not in "".join([*inner[:at], *inner[at + 1 :]]).replace("%%", "")
            found += [word.replace("%%", "%") for word in inner]
        else:
            found.append(word.split("=", 1)[-1] if "=" in word else word)
    return [word.split("=", 1)[-1] for word in found]


_CONSTANTS = ("[%h]:%p",)


@given(value=st.text() | NASTY)
@example("me@[::1]:22")
@example("a@b@c")
def test_a_jump_is_parsed_or_refused(value):
    jump = parse_jump(value)
    if jump is not None:
        host = f"[{jump.host}]" if "[" in value else jump.host
        port = value.rpartition(":")[2] if jump.port else ""
        assert value == (f"{jump.user}@" if jump.user else "") + host + (f":{port}" if port else "")


@pytest.mark.parametrize("value", [0, 65536, -1, True, "22", 22.0, None])
def test_ports_out_of_range_are_refused(value):
    if value is None:
        assert "-p" not in ssh.command(board(port=value))
        return
    with pytest.raises(HakdError, match="port"):
        board(port=value)


@pytest.mark.parametrize("host", ["::1", "fe80::1", "192.168.1.7", "pi4", "pi-4.lab.example"])
def test_names_and_addresses_are_hosts(host):
    assert ssh.command(board(host=host))[-3:-1] == ["--", host]


def understood(argv: list[str]) -> dict[str, str]:
    """What the real ssh makes of a command line."""
    argv = [word for word in argv if word not in ("-W", *_CONSTANTS)]
    done = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def jump_command(argv: list[str]) -> list[str]:
    """The command line of the jump host's ssh, as the shell gets it."""
    (proxy,) = [word.removeprefix("ProxyCommand=") for word in argv if word.startswith("ProxyCommand=")]
    return shlex.split(proxy.replace("%%", "%"))


@pytest.mark.parametrize("host", NAMES["host"])
def test_hosts_that_openssh_takes_reach_it_as_they_are(host):
    check_entry("devices", "pi4", {"transport": "ssh", "host": host}, "f")
    assert understood(ssh.command(board(host=host)))["hostname"].lower() == host.lower()
    address = f"[{host}]" if ":" in host else host
    assert understood(jump_command(ssh.command(board(jump=address))))["hostname"].lower() == host.lower()


@pytest.mark.parametrize("user", NAMES["user"])
def test_users_that_openssh_takes_reach_it_as_they_are(user):
    settings = {"transport": "ssh", "host": "pi4.lab", "user": user, "jump": f"{user}@gate.lab"}
    check_entry("devices", "pi4", settings, "f")
    argv = ssh.command(Device.from_config("pi4", settings))
    assert understood(argv)["user"] == understood(jump_command(argv))["user"] == user


@pytest.mark.parametrize("field", ["host", "jump"])
def test_names_beyond_what_a_host_can_be_are_refused(field):
    assert board(**{field: "a" * 253})
    with pytest.raises(HakdError, match=field):
        board(**{field: "a" * 254})


@pytest.mark.parametrize("key", SSH_KEYS)
def test_keys_of_ssh_are_refused_for_a_local_device(key):
    value = 22 if key == "port" else PLAIN[key]
    with pytest.raises(HakdError, match=rf"local: {key}: .*transport: ssh"):
        Device.from_config("local", {key: value})


def test_a_board_needs_a_host():
    with pytest.raises(HakdError, match="pi4: host: is missing"):
        Device.from_config("pi4", {"transport": "ssh"})


@pytest.mark.parametrize(
    "key", ["options", "ssh_options", "proxy_command", "ProxyCommand", "config", "extra"]
)
def test_no_free_form_options(key):
    with pytest.raises(HakdError, match=f"unknown key '{key}'"):
        board(**{key: "-oProxyCommand=id"})


def test_the_command_line_of_a_whole_entry():
    device = board(**PLAIN, port=2022)
    argv = ssh.command(device)
    assert argv[:4] == ["ssh", "-T", "-a", "-x"]
    assert argv[-3:] == ["--", "127.0.0.1", f"exec /opt/venv/bin/python3 -u -c '{agent.BOOT}'"]
    assert argv[argv.index("-l") + 1] == "pi" and argv[argv.index("-p") + 1] == "2022"
    options = [argv[i + 1] for i, word in enumerate(argv) if word == "-o"]
    assert options[: len(ssh.OPTIONS)] == list(ssh.OPTIONS)
    assert "UserKnownHostsFile=keys/known_hosts" in options and "GlobalKnownHostsFile=none" in options
    (proxy,) = [word for word in options if word.startswith("ProxyCommand=")]
    inner = shlex.split(proxy.removeprefix("ProxyCommand="))
    assert inner[-4:] == ["-W", "[%h]:%p", "--", "gate.lab"]
    assert "StrictHostKeyChecking=yes" in inner and inner[inner.index("-p") + 1] == "2222"


def test_ssh_reads_the_command_line_as_it_is_meant():
    """The real ssh says how it understood every option; the user's own configuration cannot weaken it."""
    weak = Path("config_of_the_user")
    weak.write_text(
        "Host *\n StrictHostKeyChecking no\n ForwardAgent yes\n ControlMaster auto\n ControlPath /tmp/%h\n"
        " LogLevel QUIET\n RemoteCommand id\n UserKnownHostsFile /dev/null\n LocalForward 1234 localhost:1\n"
    )
    argv = ssh.command(board(**PLAIN, port=2022))
    done = subprocess.run(
        [argv[0], "-G", "-F", str(weak), *argv[1:]], capture_output=True, text=True, check=True
    )
    says = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    expected = {
        "hostname": "127.0.0.1",
        "user": "pi",
        "port": "2022",
        "batchmode": "yes",
        "stricthostkeychecking": "true",
        "forwardagent": "no",
        "clearallforwardings": "yes",
        "controlmaster": "false",
        "userknownhostsfile": "keys/known_hosts",
        "serveraliveinterval": "2",
        "identityfile": "keys/id",
        "updatehostkeys": "false",
        "loglevel": "INFO",
    }
    assert {key: says.get(key) for key in expected} == expected
    assert "controlpath" not in says or says["controlpath"] == "none"


def test_the_project_s_known_hosts_count_beside_the_user_s_own():
    assert not any("KnownHosts" in word for word in ssh.flags(board()))
    Path("config").mkdir()
    Path(ssh.PROJECT_KNOWN_HOSTS).touch()
    (option,) = [word for word in ssh.flags(board()) if word.startswith("UserKnownHostsFile=")]
    first, *others = option.removeprefix("UserKnownHostsFile=").split()
    assert first == ssh.PROJECT_KNOWN_HOSTS and any(path.endswith("/.ssh/known_hosts") for path in others)
    assert "UserKnownHostsFile=keys/known_hosts" in ssh.flags(board(known_hosts="keys/known_hosts"))


def test_what_is_pinned_in_the_checkout_counts_in_every_folder(tmp_path, monkeypatch):
    """`snakemake --directory` runs elsewhere; ssh has to read the path as it is, and the jump host's ssh too."""
    checkout = tmp_path / 'a "new" 100%h' / "config" / "known_hosts"
    checkout.parent.mkdir(parents=True)
    checkout.touch()
    monkeypatch.setattr(ssh, "CHECKOUT", checkout.parents[1])
    argv = ssh.command(board(jump="gate.lab"))
    for words in (argv, jump_command(argv)):
        assert understood(words)["userknownhostsfile"].startswith(f"{checkout} ")
    Path("config").mkdir()
    Path(ssh.PROJECT_KNOWN_HOSTS).touch()
    assert ssh.project_known_hosts() == [ssh.PROJECT_KNOWN_HOSTS, str(checkout)]
    monkeypatch.chdir(checkout.parents[1])
    assert ssh.project_known_hosts() == [ssh.PROJECT_KNOWN_HOSTS]  # one file, named once


def test_a_missing_key_file_is_one_error():
    with pytest.raises(HakdError, match="pi4: identity_file: no such file: keys/other"):
        ssh.command(board(identity_file="keys/other"))


@pytest.mark.parametrize("cpus", [[0, 0], [0, 1], [-1], [True], ["0"], "0", []])
def test_pinning_needs_as_many_cpus_as_threads(cpus):
    with pytest.raises(HakdError, match="cpus"):
        board(cpus=cpus)
    assert board(cpus=[3, 2], threads=2).cpus == (3, 2)


def test_reach_is_no_part_of_what_a_measurement_depends_on():
    device = board(**PLAIN, port=2022)
    assert not set(REACH_KEYS) & device.settings().keys()
    assert {"host", "python", "engine", "threads", "epoch"} <= device.settings().keys()


def test_the_configuration_is_refused_before_any_job_starts(elsewhere):
    entry = {"transport": "ssh", "host": "pi4", "user": "pi\n"}
    with pytest.raises(HakdError, match=r"devices\.pi4\.user"):
        check_study({**CONFIG, "devices": {**CONFIG["devices"], "pi4": entry}})


WORDS = {
    "known_hosts": [
        "@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.",
        "No ED25519 host key is known for b and you have requested strict checking.\nHost key verification failed.",
    ],
    "identity_file": [
        "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\nx@b: Permission denied (publickey).",
        "Received disconnect from b: Too many authentication failures",
    ],
    "user": ["root@b: Permission denied (publickey,password)."],
    "host": [
        "ssh: Could not resolve hostname b: Name or service not known",
        "ssh: connect to host b port 22: Connection timed out",
        "ssh: connect to host b port 22: No route to host",
        "kex_exchange_identification: Connection closed by remote host\nConnection closed by 127.0.0.1 port 22",
    ],
    "port": ["ssh: connect to host b port 22: Connection refused"],
}


@pytest.mark.parametrize(("key", "words"), [(key, words) for key, found in WORDS.items() for words in found])
def test_what_ssh_says_becomes_one_error_with_a_remedy(key, words):
    error = ssh.explain(board(), 255, words, heard=False)
    assert error is not None and error.key == key and error.remedy and error.where == "device pi4"
    assert str(error).isprintable() and "@@" not in str(error)


def test_only_a_link_that_is_away_is_worth_another_try():
    lost = "Timeout, server b not responding."
    away = [ssh.explain(board(), 255, words, heard=False) for words in (*WORDS["host"], *WORDS["port"], lost)]
    assert [type(error) for error in away] == [LinkLost] * len(away)
    for words in (*WORDS["known_hosts"], *WORDS["identity_file"], *WORDS["user"]):
        assert type(ssh.explain(board(), 255, words, heard=False)) is HakdError
    assert type(ssh.explain(board(), 127, "no python3", heard=False)) is HakdError


def test_a_lost_link_says_what_came_of_the_tries_and_survives_process_pools():
    lost = LinkLost("the link was lost (x)", where="device b", key="host", remedy="Look")
    refused = LinkLost("no answer (y)", where="device b")
    assert lost.after(0, lost) is lost
    assert str(lost.after(1, refused)) == (
        "device b: host: the link was lost (x); the try to connect again failed: no answer (y). Look"
    )
    assert "; 3 tries to connect again failed, the last: no answer (y)." in str(lost.after(3, refused))
    assert "; lost 4 times in all without a result." in str(lost.after(3, lost))
    again = pickle.loads(pickle.dumps(lost.after(3, lost)))
    assert type(again) is LinkLost and str(again) == str(lost.after(3, lost))


@pytest.mark.parametrize("status", [126, 127])
def test_the_remote_shell_s_status_for_a_missing_command_is_python_s(status):
    error = ssh.explain(board(), status, "bash: line 1: exec: python3: Permission denied (no)", heard=False)
    assert error is not None and error.key == "python" and "python3 does not run" in str(error)


def test_status_255_alone_means_nothing():
    assert ssh.explain(board(), 255, "", heard=False) is None
    assert ssh.explain(board(), 255, "some library's warning", heard=True) is None
    lost = ssh.explain(board(), 255, "Timeout, server b not responding.", heard=True)
    assert lost is not None and "the link was lost (Timeout, server b not responding.)" in str(lost)


def test_a_link_lost_before_the_agent_s_first_word_is_called_so():
    error = ssh.explain(board(), 255, "Connection to b closed by remote host.", heard=False)
    assert error is not None and "the link was lost" in str(error)


def test_control_characters_of_a_board_reach_no_terminal():
    error = ssh.explain(board(), 127, "\x1b[2Jexec: python3\x07: not found", heard=False)
    assert error is not None and str(error).isprintable()


def test_only_a_full_sshd_is_tried_again():
    assert ssh.turned_away("kex_exchange_identification: read: Connection reset by peer")
    assert not ssh.turned_away(WORDS["user"][0]) and not ssh.turned_away(WORDS["port"][0])


def test_a_jump_host_is_a_device_of_its_own_for_pinning():
    gate = ssh.jump_device(board(**PLAIN))
    assert gate is not None and (gate.host, gate.user, gate.port) == ("gate.lab", "me", 2222)
    assert gate.known_hosts == "keys/known_hosts" and gate.jump is None
    assert ssh.jump_device(board()) is None and re.fullmatch(r"[\w.]+", gate.host)
