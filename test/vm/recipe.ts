/** What the guest's disk is made of. A change here makes a new one. */
import { createHash } from 'node:crypto';

export const SUITE = 'bookworm';

/** Beside those that Debian cannot do without. */
export const PACKAGES = [
  ...[
    'linux-image-cloud-amd64',
    'systemd-sysv',
    'systemd-container',
    'dbus',
    'udev',
    'kmod',
    'util-linux',
    'e2fsprogs',
  ],
  ...['iproute2', 'iptables', 'iputils-arping', 'iputils-ping', 'ethtool', 'nftables', 'procps', 'strace'],
  ...['busybox-static', 'catatonit', 'crun', 'curl', 'golang-github-containers-common', 'python3-minimal', 'runc'],
  ...['runit', 'shellcheck', 'xz-utils', 'zstd'],
];

/** Relative to the guest's root. systemd runs the tests, once all is up, and turns the machine off should they not. */
export const FILES: Readonly<Record<string, string>> = {
  'etc/fstab': '/dev/vda / ext4 defaults 0 1\n/dev/vdb /srv/minict ext4 ro 0 0\n',
  'etc/hostname': 'guest\n',
  // Where the host has a name server no name is asked for; this one has no network.
  'etc/resolv.conf': '',
  'etc/systemd/system/minict-test.service': `[Unit]
Description=The tests of minict
After=multi-user.target
RequiresMountsFor=/srv/minict
FailureAction=poweroff

[Service]
ExecStart=sh /srv/minict/test/vm/guest.sh
Environment=HOME=/root NO_COLOR=1
StandardInput=null
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/ttyS1
# A test's program that takes too much memory is not the end of the tests.
OOMPolicy=continue
TasksMax=infinity
`,
};

export const LINKS: Readonly<Record<string, string>> = {
  'etc/systemd/system/multi-user.target.wants/minict-test.service': '../minict-test.service',
  // Nothing is to be at work by the clock.
  'etc/systemd/system/timers.target': '/dev/null',
};

export const RECIPE_KEY = createHash('sha256')
  .update(JSON.stringify([SUITE, PACKAGES, FILES, LINKS]))
  .digest('hex')
  .slice(0, 16);
