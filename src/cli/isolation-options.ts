/** Options of create and run that say what is a container's own, and what its programs may not do. */
import { existsSync, readFileSync } from 'node:fs';
import { HostError, InvalidInputError, systemCause } from '../errors.ts';
import { requireTool } from '../host/tool.ts';
import type { ContainerSpec, Isolated } from '../spec/container.ts';
import { isOciRuntime, OCI_RUNTIMES, type OciRuntime } from '../spec/oci-runtime.ts';
import { parseCapability, parseSeccomp } from '../spec/security.ts';
import type { VerbCommand } from './verb-command.ts';

export interface IsolationOptions {
  readonly runtime?: string;
  readonly boot?: boolean;
  readonly profile?: string;
  readonly pid?: string;
  readonly init?: boolean;
  readonly ipc?: string;
  readonly cgroupns?: string;
  readonly dev?: string;
  readonly sys?: string;
  readonly timens?: string;
  readonly userns?: string;
  readonly rootfs?: string;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly securityOpt: readonly string[];
  /** `--no-new-privileges` makes it false. */
  readonly newPrivileges?: boolean;
}

const WHOSE = ['host', 'private'];

export function addIsolationOptions(command: VerbCommand): VerbCommand {
  return command
    .choice('--runtime <name>', 'what runs programs (default: chroot)', [
      'chroot',
      ...Object.keys(OCI_RUNTIMES),
      'nspawn',
    ])
    .option('--boot', 'start runs the init of its image, by --runtime nspawn')
    .choice('--profile <name>', 'lab, or hardened, by crun or runc (default: lab)', ['lab', 'hardened'])
    .choice('--pid <whose>', 'processes: a PID namespace of its own, with a small reaper as PID 1', WHOSE)
    .option('--init', 'as --pid private')
    .choice('--ipc <whose>', 'shared memory and message queues', WHOSE)
    .choice('--cgroupns <whose>', 'what it sees of cgroups', WHOSE)
    .choice('--dev <whose>', 'a /dev with the devices that every program may have', WHOSE)
    .choice('--sys <whose>', 'a /sys with the interfaces of its own network', WHOSE)
    .choice('--timens <whose>', 'clocks that count from boot: from its start', WHOSE)
    .choice('--userns <whose>', 'ids: auto, a range of its own (with crun or runc)', ['host', 'auto'])
    .repeatable('--cap-add <capability>', "beside the profile's, or ALL")
    .repeatable('--cap-drop <capability>', "of the profile's, or ALL")
    .repeatable('--security-opt <opt>', 'seccomp=FILE, seccomp=unconfined, no-new-privileges[=false]')
    .option('--no-new-privileges', 'as --security-opt no-new-privileges');
}

type Isolation = Pick<
  ContainerSpec,
  'runtime' | 'boot' | 'profile' | 'isolated' | 'userns' | 'capAdd' | 'capDrop' | 'seccomp' | 'noNewPrivileges'
>;

/** With a runtime that makes its namespaces, and mounts a /sys itself. */
const ALWAYS_OWN: readonly Isolated[] = ['pid', 'ipc', 'cgroupns', 'dev'];

/** Throws InvalidInputError, HostError. */
export function isolationFrom(
  options: IsolationOptions & Pick<ContainerSpec, 'mounts'>,
  ulimits: ContainerSpec['ulimits'],
): Isolation {
  const { runtime = options.profile === 'hardened' ? 'crun' : 'chroot', init, mounts } = options;
  const pid = init ? 'private' : options.pid;
  if (init && options.pid === 'host') {
    throw new InvalidInputError('cannot use --init and --pid host together', { hint: 'take one of them' });
  }
  const chosen = { pid, ipc: options.ipc, cgroupns: options.cgroupns, dev: options.dev, sys: options.sys };
  if (options.boot && runtime !== 'nspawn') {
    throw new InvalidInputError(`cannot use --boot with the runtime ${runtime}`, { hint: '--runtime nspawn' });
  }
  const oci = isOciRuntime(runtime) ? runtime : undefined;
  if (oci !== undefined) requireKept(oci, ulimits?.nofile);
  const names = Object.keys(chosen) as (keyof typeof chosen)[];
  const other = oci ?? (runtime === 'nspawn' ? runtime : undefined);
  const own = other !== undefined ? ALWAYS_OWN : names.filter((what) => chosen[what] === 'private');
  const isolated = timensFrom(options, runtime) ? [...own, 'timens' as const] : own;
  const hosts = names.find((what) => chosen[what] === 'host');
  if (other !== undefined && hosts !== undefined) {
    throw new InvalidInputError(`cannot use --${hosts} host with the runtime ${other}: there it is always private`, {
      hint: `leave out --${hosts}`,
    });
  }
  if (isolated.length > 0 && mounts === 'host') {
    const what = other !== undefined ? `--runtime ${other}` : `--${isolated[0]} private`;
    throw new InvalidInputError(`cannot use ${what} and --mounts host together`, { hint: 'leave out --mounts' });
  }
  if (isolated.includes('pid') && !options.boot) requireTool('catatonit');
  return {
    ...(isolated.length === 0 ? {} : { isolated: [...isolated] }),
    ...usernsFrom(runtime, oci, options),
    ...(oci !== undefined ? ociFrom(oci, options) : refuseSecurity(options, runtime)),
    ...(runtime === 'nspawn' ? nspawnFrom(options) : {}),
  };
}

/** Other than those of a runtime's, it is made for who asks. */
function timensFrom({ timens }: IsolationOptions, runtime: string): boolean {
  if (timens !== 'private') return false;
  if (runtime === 'nspawn') {
    throw new InvalidInputError('cannot use --timens private with the runtime nspawn', { hint: 'leave out --timens' });
  }
  if (existsSync('/proc/self/ns/time')) return true;
  throw new HostError('cannot use --timens private: this kernel has no time namespaces', { hint: 'Linux 5.6 has' });
}

function requireKept(runtime: OciRuntime, files: { readonly soft: number; readonly hard: number } | undefined): void {
  if (!OCI_RUNTIMES[runtime].raisesFiles || files === undefined || files.soft === files.hard) return;
  throw new InvalidInputError(
    `cannot use --ulimit nofile with the runtime ${runtime}: it makes the soft limit the hard one`,
    {
      hint: `--ulimit nofile=${files.soft}; the runtime crun has both`,
    },
  );
}

/** Its ids are chosen when it is made. */
function usernsFrom(
  runtime: string,
  oci: OciRuntime | undefined,
  { userns, rootfs }: IsolationOptions,
): Pick<Isolation, 'userns'> {
  if (userns !== 'auto') return {};
  if (oci === undefined) {
    throw new InvalidInputError(`cannot use --userns auto with the runtime ${runtime}`, {
      hint: '--runtime crun has it, and runc',
    });
  }
  if (rootfs !== undefined) {
    throw new InvalidInputError("cannot use --userns auto and --rootfs together: its files are the host's", {
      hint: 'minict image import DIR NAME; minict create NAME --image NAME',
    });
  }
  requireTool('perl');
  return { userns: { hostId: 0 } };
}

function nspawnFrom({ boot }: IsolationOptions): Isolation {
  requireTool('systemd-nspawn');
  return { runtime: 'nspawn', ...(boot ? { boot: true } : {}) };
}

function refuseSecurity(options: IsolationOptions, runtime: string): Isolation {
  const { profile, capAdd, capDrop, securityOpt, newPrivileges } = options;
  const option = [
    profile === 'hardened' ? '--profile hardened' : undefined,
    capAdd.length > 0 ? '--cap-add' : undefined,
    capDrop.length > 0 ? '--cap-drop' : undefined,
    securityOpt.length > 0 ? '--security-opt' : undefined,
    newPrivileges === false ? '--no-new-privileges' : undefined,
  ].find((word) => word !== undefined);
  if (option === undefined) return {};
  throw new InvalidInputError(`cannot use ${option} with the runtime ${runtime}: it has no such walls`, {
    hint: '--runtime crun has, and runc',
  });
}

function ociFrom(runtime: OciRuntime, options: IsolationOptions): Isolation {
  const { profile, capAdd, capDrop, securityOpt, newPrivileges } = options;
  requireTool(runtime);
  const isHardened = profile === 'hardened';
  return {
    runtime,
    ...(isHardened ? { profile: 'hardened' as const, noNewPrivileges: true } : {}),
    ...(capAdd.length === 0 ? {} : { capAdd: capAdd.map(parseCapability) }),
    ...(capDrop.length === 0 ? {} : { capDrop: capDrop.map(parseCapability) }),
    ...Object.assign({}, ...securityOpt.map(securityFrom)),
    ...(newPrivileges === false ? { noNewPrivileges: true } : {}),
  };
}

function securityFrom(word: string): Pick<Isolation, 'seccomp' | 'noNewPrivileges'> {
  const [key, value] = word.split(/=(.*)/s);
  if (key === 'no-new-privileges' && [undefined, 'true', 'false'].includes(value)) {
    return { noNewPrivileges: value !== 'false' };
  }
  if (key !== 'seccomp' || !value) {
    throw new InvalidInputError(`cannot use --security-opt '${word}'`, {
      hint: 'seccomp=FILE, seccomp=unconfined, or no-new-privileges',
    });
  }
  return { seccomp: value === 'unconfined' ? value : readSeccomp(value) };
}

function readSeccomp(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new InvalidInputError(`cannot use --security-opt seccomp=${path}: ${systemCause(error)}`);
  }
  parseSeccomp(text, `--security-opt seccomp=${path}`);
  return text;
}
