#!/usr/bin/env python3
"""A simulated MK3S on a pseudo terminal, just enough for Python PrusaLink 0.8.1 to take it for a real one.

It confirms every line, answers what PrusaLink asks for, keeps an EEPROM, and lets G4 take its time. It prints nothing
and knows no PrusaLink; the answers follow the patterns in prusa/link/printer_adapter/structures/regular_expressions.py.
Usage: fake_mk3.py LINK COMMAND... - creates LINK to the terminal, runs COMMAND beside it (the server), and ends both
when its standard input closes, so that nothing is left behind however the caller ends.
"""
import os
import re
import select
import subprocess
import sys
import termios
import time
import tty

EEPROM = {0x0D05 + index: value for index, value in enumerate((0, 0, 0, 41))}  # the number of the last print
FIXED = {
    "PRUSA Fir": ["3.14.1-8237"],
    "PRUSA SN": ["CZPX0123X004XK01234"],
    "M862.2 Q": ["302"],
    "M862.1 Q": ["0.40"],
    "M220": ["100%"],
    "M221": ["100%"],
    "M27 P": ["Not SD printing"],
    "M420": ["Mesh bed leveling not active."],
    "M21": ["echo:SD init fail"],
    "M20 LT": ["Begin file list", "End file list"],
    "M601": ["// action:pause", "// action:paused"],
    "M602": ["// action:resume", "// action:resumed"],
    "M603": ["// action:cancel"],
    "M73": [
        f"{mode} MODE: Percent done: -1; print time remaining in mins: -1; Change in mins: -1"
        for mode in ("SILENT", "NORMAL")
    ],
}


def eeprom(address, count, data):
    """Writes and reads like the D3 debug code."""
    for offset, value in enumerate(data):
        EEPROM[address + offset] = value
    lines = []
    for start in range(address, address + max(count, len(data)), 16):
        end = min(start + 16, address + max(count, len(data)))
        values = " ".join(f"{EEPROM.get(place, 0):02x}" for place in range(start, end))
        lines.append(f"{start:04x}  {values}")
    return lines


def answer(line):
    """The lines before the confirmation, and how long the machine is busy with it."""
    line = re.sub(r"^N\d+ *", "", line.split("*")[0]).strip()
    if match := re.match(r"D3 Ax([0-9A-Fa-f]+)(?: C(\d+))?(?: X([0-9A-Fa-f]+))?$", line):
        return eeprom(int(match[1], 16), int(match[2] or 0), bytes.fromhex(match[3] or "")), 0
    if match := re.match(r"G4 P(\d+)", line):
        return [], int(match[1]) / 1000
    return FIXED.get(line, []), 0


def main():
    master, slave = os.openpty()
    tty.setraw(slave, termios.TCSANOW)
    os.symlink(os.ttyname(slave), sys.argv[1])
    server = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
    try:
        talk(master)
    finally:
        server.kill()
        server.wait()


def talk(master):
    """Answers until the standard input closes."""
    received = b""
    detected = False
    while True:
        ready, _, _ = select.select([master, sys.stdin], [], [])
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1024):
            return
        if master not in ready:
            continue
        received += os.read(master, 1024)
        while b"\n" in received:
            raw, received = received.split(b"\n", 1)
            command = raw.decode("ascii", "replace").strip()
            lines, seconds = answer(command)
            time.sleep(seconds)
            # The server looks for its machine with a first M862.2 and stops listening at the model. A confirmation after
            # that would, now and then, be taken for the one of its next command, and shift all later ones.
            if detected or command != "M862.2 Q":
                lines = [*lines, "ok"]
            else:
                detected = True
            os.write(master, "".join(f"{line}\n" for line in lines).encode("ascii"))


main()
