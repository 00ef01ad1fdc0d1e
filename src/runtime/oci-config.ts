/** What an OCI runtime is told of a container: config.json of its bundle (runtime-spec, config.md). */
import { existsSync, readFileSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { heldCapabilities } from '../process/oci.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { capabilitiesOf, isHeld, parseSeccomp, type Seccomp } from '../spec/security.ts';
import { USERNS_IDS } from '../spec/userns.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { RuntimeFacts } from './runtime.ts';
import { dockerSeccomp, SECCOMP_FILE } from './seccomp.ts';

/** Docker's. */
const MASKED = [
  ...['asound', 'acpi', 'kcore', 'keys', 'latency_stats', 'timer_list', 'timer_stats', 'sched_debug', 'scsi'].map(
    (name) => `/proc/${name}`,
  ),
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const READ_ONLY = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].map((name) => `/proc/${name}`);

/** The filter that it is to have. Throws InvalidInputError, HostError. */
export function seccompOf(spec: ContainerSpec): Seccomp | undefined {
  if (spec.seccomp === 'unconfined' || (spec.seccomp === undefined && spec.profile === undefined)) return undefined;
  if (spec.seccomp !== undefined) return parseSeccomp(spec.seccomp, 'its seccomp filter');
  if (!existsSync(SECCOMP_FILE)) {
    throw new HostError(`cannot use --profile hardened: ${SECCOMP_FILE} is not there`, {
      hint: 'apt-get install golang-github-containers-common',
    });
  }
  const caps = capabilitiesOf(spec, heldCapabilities());
  return dockerSeccomp(readFileSync(SECCOMP_FILE, 'utf8'), caps, process.arch);
}

/** Of those that were asked for by name: of ALL, and of a profile's, it has what can be given. */
function requireHeld({ capAdd = [] }: ContainerSpec, held: bigint): void {
  const name = capAdd.find((one) => !isHeld(one, held));
  if (name === undefined) return;
  throw new HostError(`cannot use --cap-add ${name}: minict does not have it itself`, {
    hint: 'leave it out; CapPrm in /proc/self/status has what there is',
  });
}

/** Where it is seen inside: in /dev, which is a tmpfs, so that no image needs it. */
const INIT = '/dev/init';

function idsOf({ hostId }: NonNullable<ContainerSpec['userns']>): object[] {
  return [{ containerID: 0, hostID: hostId, size: USERNS_IDS }];
}

/** config.json. Throws HostError. */
export function configOf(
  spec: ContainerSpec,
  { openRoot, userns }: ContainerPaths,
  { rootfs, init }: RuntimeFacts,
  { seccomp, compiled }: { readonly seccomp: Seccomp | undefined; readonly compiled: string | undefined },
): object {
  const isHardened = spec.profile === 'hardened';
  const held = heldCapabilities();
  requireHeld(spec, held);
  const caps = capabilitiesOf(spec, held);
  const mount = (destination: string, type: string, options: readonly string[]) => ({
    destination,
    type,
    source: type,
    options,
  });
  const ro = isHardened ? ['ro'] : [];
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: [INIT, '-P'],
      env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
      cwd: '/',
      noNewPrivileges: spec.noNewPrivileges ?? false,
      capabilities: { bounding: caps, effective: caps, permitted: caps },
    },
    root: { path: spec.userns === undefined ? rootfs : openRoot, readonly: spec.readOnly ?? false },
    mounts: [
      mount('/proc', 'proc', []),
      mount('/dev', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
      mount('/dev/pts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']),
      mount('/dev/shm', 'tmpfs', ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k']),
      mount('/dev/mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
      // That of a network namespace can be mounted by who has made it alone.
      ...(spec.userns === undefined ? [mount('/sys', 'sysfs', ['nosuid', 'noexec', 'nodev', ...ro])] : []),
      { destination: INIT, type: 'bind', source: init, options: ['bind', 'ro'] },
    ],
    linux: {
      // It is started in the others.
      namespaces: [
        { type: 'pid' },
        { type: 'mount' },
        ...(spec.userns === undefined ? [] : [{ type: 'user', path: userns }]),
      ],
      ...(spec.userns === undefined ? {} : { uidMappings: idsOf(spec.userns), gidMappings: idsOf(spec.userns) }),
      ...(isHardened ? { maskedPaths: MASKED, readonlyPaths: READ_ONLY } : {}),
      ...(seccomp === undefined ? {} : { seccomp }),
    },
    // In place of what crun would make of it; whoever does not know this word makes it.
    ...(compiled === undefined ? {} : { annotations: { 'run.oci.seccomp_bpf_data': compiled } }),
  };
}
