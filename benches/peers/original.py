#!/usr/bin/env python3
"""Makes an appliance the way flockr did: unpack, replace, pack.

Usage: original.py BASE.tar APP.tar WWWROOT TMPDIR OUTPUT [gz]

Written for measuring, after a description of the original's steps: the base
is unpacked below TMPDIR/flockr-build/root-fs and the application beside it,
the web root is removed, the application is copied to its place, and everything
is packed again; with "gz" at gzip's highest level, which is Python's default.
"""

import os
import shutil
import sys
import tarfile


def unpack(archive, directory):
    os.makedirs(directory)
    with tarfile.open(archive) as tar:
        tar.extractall(directory, numeric_owner=True)


def main(base, app, wwwroot, tmpdir, output, compression=""):
    build = os.path.join(tmpdir, "flockr-build")
    root = os.path.join(build, "root-fs")
    application = os.path.join(build, "app")
    if os.path.exists(build):
        shutil.rmtree(build)
    unpack(base, root)
    unpack(app, application)
    target = os.path.join(root, wwwroot.strip("/"))
    if os.path.exists(target):
        shutil.rmtree(target)
    shutil.copytree(application, target, symlinks=True)
    with tarfile.open(output, "w:" + compression) as tar:
        tar.add(root, arcname=".")


if __name__ == "__main__":
    main(*sys.argv[1:])
