"""Other load on the machine while something is measured, in percent of one core."""

import os
import resource
import time

LOAD_PERCENT_MAX = 10
WAIT_S_MAX = 60


def busy_s():
    """Seconds that all cores have worked, or were taken away, since the machine started."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(ticks) for ticks in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_s():
    """Of it this process and its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Watch:
    """Other load from now on."""

    def __init__(self):
        self.started, self.busy, self.own = time.monotonic(), busy_s(), own_s()

    def percent(self):
        elapsed = time.monotonic() - self.started
        return round(max(0.0, busy_s() - self.busy - own_s() + self.own) / elapsed * 100, 1)


def wait():
    """Until the machine has been quiet for a second, but not for ever."""
    deadline = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < deadline:
        watch = Watch()
        time.sleep(1)
        if watch.percent() <= LOAD_PERCENT_MAX:
            return
