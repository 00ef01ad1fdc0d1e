/** The OCI runtimes, and all in which they differ for minict. Pure. */

interface OciRuntimeFacts {
  /** Words that come first: cgroups are minict's, and are left alone. */
  readonly options: readonly string[];
  /** What is mounted in the container's mount namespace, so that it does so. `where` is there on the hosts that need it. */
  readonly mount: OciMount;
  /** It raises its soft limit of open files, as programs of Go 1.19 do, and hands that on. */
  readonly raisesFiles: boolean;
  /** A program's stdin, stdout and stderr are pipes that it copies to and from, and not the caller's. */
  readonly copiesStdio: boolean;
  /** It leaves a compiled seccomp filter in its state, and takes one. */
  readonly keepsFilter: boolean;
  /** It makes a copy of itself first, so that no container can write to it, unless it is one in memory that is sealed; and is small. */
  readonly sealed: boolean;
}

interface OciMount {
  readonly why: string;
  readonly where: string;
  readonly source: string;
  readonly fstype: string;
  readonly options: string;
}

export const OCI_RUNTIMES = {
  crun: {
    options: ['--cgroup-manager', 'disabled'],
    // It takes the controllers of a hybrid host's cgroup2 for a sign that it cannot work here.
    mount: {
      why: 'crun refuses a hybrid host by this file',
      where: '/sys/fs/cgroup/unified/cgroup.controllers',
      source: '/dev/null',
      fstype: 'none',
      options: 'bind',
    },
    raisesFiles: false,
    copiesStdio: false,
    keepsFilter: true,
    sealed: true,
  },
  runc: {
    // As if it had no right to make a group: then it goes without (libcontainer/cgroups/fs2, Apply).
    options: ['--rootless', 'true'],
    mount: {
      why: 'runc finds cgroups that it cannot make any in',
      where: '/sys/fs/cgroup',
      source: 'cgroup2',
      fstype: 'cgroup2',
      options: 'ro,nosuid,nodev,noexec',
    },
    raisesFiles: true,
    copiesStdio: true,
    keepsFilter: false,
    sealed: false,
  },
} as const satisfies Record<string, OciRuntimeFacts>;

export type OciRuntime = keyof typeof OCI_RUNTIMES;

export function isOciRuntime(runtime: string): runtime is OciRuntime {
  return Object.hasOwn(OCI_RUNTIMES, runtime);
}
