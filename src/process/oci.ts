/** How a program gets into a container that an OCI runtime made: by its `exec`, which has filter and capabilities set. */
import { readFileSync } from 'node:fs';
import { toolPath } from '../host/tool.ts';
import type { OciPlace, Place } from '../spec/place.ts';
import type { User } from './user.ts';
import { OCI_PROCESS, waitingForOci } from './waiter.ts';

/** The most that this process can hand on, as a mask: proc_pid_status(5). */
export function heldCapabilities(): bigint {
  const mask = /^CapPrm:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return BigInt(`0x${mask ?? '0'}`);
}

interface Entering {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly user: User | undefined;
  readonly workdir: string | undefined;
  readonly terminal: boolean;
  /** Descriptor of what leads to the runtime (oci-entry.ts). */
  readonly entry?: number | undefined;
}

/** The process of that `exec`, as the OCI runtime specification has it. */
function processOf(
  { capabilities, noNewPrivileges }: OciPlace,
  { argv, env, user, workdir, terminal }: Entering,
): object {
  return {
    terminal,
    user: { uid: user?.uid ?? 0, gid: user?.gid ?? 0, additionalGids: user?.groups ?? [], umask: 0o022 },
    args: argv,
    env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
    cwd: workdir ?? '/',
    noNewPrivileges,
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
  };
}

/** Words of nsenter(1): all but those that the runtime made. */
export function enterOciNamespaces(
  files: Pick<Place, 'mntns' | 'netns' | 'utsns' | 'ipcns' | 'cgroupns' | 'timens'>,
): string[] {
  const { mntns, netns, utsns, ipcns, cgroupns, timens } = files;
  const all = [`--mount=${mntns}`, `--net=${netns}`, `--uts=${utsns}`, `--ipc=${ipcns}`, `--cgroup=${cgroupns}`];
  return timens === undefined ? all : [...all, `--time=${timens}`];
}

/** argv, and the environment that the runtime itself has: the program's is in there. */
export function enterOci(
  place: Place,
  oci: OciPlace,
  program: Entering,
): { argv: string[]; env: Record<string, string> } {
  const limits = place.ulimits === undefined ? [] : [toolPath('prlimit'), ...place.ulimits, '--'];
  // Not all runtimes join what they were started in.
  const enter = [toolPath('nsenter'), ...enterOciNamespaces(place), ...limits];
  return {
    argv: waitingForOci(
      program.entry === undefined
        ? [...enter, toolPath(oci.runtime), ...oci.words]
        : [`/proc/self/fd/${program.entry}`],
    ),
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      [OCI_PROCESS]: JSON.stringify(processOf(oci, program)),
    },
  };
}
