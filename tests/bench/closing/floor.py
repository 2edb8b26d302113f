"""The least that writing a month's statements takes, whatever made them: each is hashed, written and on disk."""

import concurrent.futures
import hashlib
import os
import shutil
import time

# The fastest of 1, 2, 4 and 8 on two cores: while one waits for the disk, others hash.
THREADS = 8


def read(documents):
    """The bytes of every document of a folder, the largest first."""
    found = []
    for where, _, names in os.walk(documents):
        for name in names:
            with open(os.path.join(where, name), "rb") as file:
                found.append(file.read())
    return sorted(found, key=len, reverse=True)


def keep(path, document):
    """A document's digest; when it returns, the document is on disk."""
    digest = hashlib.sha256(document).digest()
    with open(path, "xb", buffering=0) as file:
        file.write(document)
        os.fsync(file.fileno())
    return digest


def seconds(documents, folder):
    """What hashing and writing documents to a new folder takes."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.sync()
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        paths = [os.path.join(folder, str(number)) for number in range(len(documents))]
        list(pool.map(keep, paths, documents))
    entry = os.open(folder, os.O_RDONLY)
    os.fsync(entry)
    os.close(entry)
    return time.monotonic() - started
