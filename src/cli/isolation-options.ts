/** Options of create and run that say what is a container's own, and what its programs may not do. */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { InvalidInputError } from '../errors.ts';
import { requireTool } from '../host/tool.ts';
import type { ContainerSpec, Isolated } from '../spec/container.ts';
import { parseCapability, parseSeccomp } from '../spec/security.ts';
import { repeatable } from './repeatable.ts';

export interface IsolationOptions {
  readonly runtime?: string;
  readonly boot?: boolean;
  readonly profile?: string;
  readonly pid?: string;
  readonly init?: boolean;
  readonly ipc?: string;
  readonly cgroupns?: string;
  readonly dev?: string;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly securityOpt: readonly string[];
}

function isolating(option: string, what: string): Option {
  return new Option(`${option} <whose>`, what).choices(['host', 'private']);
}

export function addIsolationOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--runtime <name>', 'what runs programs (default: chroot)').choices(['chroot', 'crun', 'nspawn']),
    )
    .option('--boot', 'start runs the init of its image, by --runtime nspawn')
    .addOption(new Option('--profile <name>', 'lab, or hardened, by crun (default: lab)').choices(['lab', 'hardened']))
    .addOption(isolating('--pid', 'processes: a PID namespace of its own, with a small reaper as PID 1'))
    .option('--init', 'as --pid private')
    .addOption(isolating('--ipc', 'shared memory and message queues'))
    .addOption(isolating('--cgroupns', 'what it sees of cgroups'))
    .addOption(isolating('--dev', 'a /dev with the devices that every program may have'))
    .addOption(repeatable('--cap-add <capability>', "beside the profile's, or ALL"))
    .addOption(repeatable('--cap-drop <capability>', "of the profile's, or ALL"))
    .addOption(repeatable('--security-opt <opt>', 'seccomp=FILE, seccomp=unconfined, no-new-privileges[=false]'));
}

type Isolation = Pick<
  ContainerSpec,
  'runtime' | 'boot' | 'profile' | 'isolated' | 'capAdd' | 'capDrop' | 'seccomp' | 'noNewPrivileges'
>;

/** Of a runtime that has its own. */
const ALL: readonly Isolated[] = ['pid', 'ipc', 'cgroupns', 'dev'];

/** Throws InvalidInputError, HostError. */
export function isolationFrom(
  options: IsolationOptions & Pick<ContainerSpec, 'mounts'> & { readonly healthCmd?: string },
): Isolation {
  const { runtime = options.profile === 'hardened' ? 'crun' : 'chroot', init, mounts } = options;
  const pid = init ? 'private' : options.pid;
  if (init && options.pid === 'host') {
    throw new InvalidInputError('cannot use --init and --pid host together', { hint: 'take one of them' });
  }
  const chosen = { pid, ipc: options.ipc, cgroupns: options.cgroupns, dev: options.dev };
  const isCrun = runtime === 'crun';
  if (options.boot && runtime !== 'nspawn') {
    throw new InvalidInputError(`cannot use --boot with the runtime ${runtime}`, { hint: '--runtime nspawn' });
  }
  if (isCrun && options.healthCmd !== undefined) {
    throw new InvalidInputError('cannot use --health-cmd with the runtime crun', {
      hint: 'minict exec NAME CMD says by its exit status whether it works',
    });
  }
  const names = Object.keys(chosen) as Isolated[];
  const isOwn = isCrun || runtime === 'nspawn';
  const isolated = isOwn ? ALL : names.filter((what) => chosen[what] === 'private');
  const hosts = names.find((what) => chosen[what] === 'host');
  if (isOwn && hosts !== undefined) {
    throw new InvalidInputError(`cannot use --${hosts} host with the runtime ${runtime}: there it is always private`, {
      hint: `leave out --${hosts}`,
    });
  }
  if (isolated.length > 0 && mounts === 'host') {
    const what = isOwn ? `--runtime ${runtime}` : `--${isolated[0]} private`;
    throw new InvalidInputError(`cannot use ${what} and --mounts host together`, { hint: 'leave out --mounts' });
  }
  if (isolated.includes('pid') && !options.boot) requireTool('catatonit');
  return {
    ...(isolated.length === 0 ? {} : { isolated: [...isolated] }),
    ...(isCrun ? crunFrom(options) : refuseSecurity(options, runtime)),
    ...(runtime === 'nspawn' ? nspawnFrom(options) : {}),
  };
}

function nspawnFrom({ boot }: IsolationOptions): Isolation {
  requireTool('systemd-nspawn');
  return { runtime: 'nspawn', ...(boot ? { boot: true } : {}) };
}

function refuseSecurity({ profile, capAdd, capDrop, securityOpt }: IsolationOptions, runtime: string): Isolation {
  const option = [
    profile === 'hardened' ? '--profile hardened' : undefined,
    capAdd.length > 0 ? '--cap-add' : undefined,
    capDrop.length > 0 ? '--cap-drop' : undefined,
    securityOpt.length > 0 ? '--security-opt' : undefined,
  ].find((word) => word !== undefined);
  if (option === undefined) return {};
  throw new InvalidInputError(`cannot use ${option} with the runtime ${runtime}: it has no such walls`, {
    hint: '--runtime crun has',
  });
}

function crunFrom({ profile, capAdd, capDrop, securityOpt }: IsolationOptions): Isolation {
  requireTool('crun');
  const isHardened = profile === 'hardened';
  return {
    runtime: 'crun',
    ...(isHardened ? { profile: 'hardened' as const, noNewPrivileges: true } : {}),
    ...(capAdd.length === 0 ? {} : { capAdd: capAdd.map(parseCapability) }),
    ...(capDrop.length === 0 ? {} : { capDrop: capDrop.map(parseCapability) }),
    ...Object.assign({}, ...securityOpt.map(securityFrom)),
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
    throw new InvalidInputError(`cannot use --security-opt seccomp=${path}: ${(error as Error).message}`);
  }
  parseSeccomp(text, `--security-opt seccomp=${path}`);
  return text;
}
