/** The runtime `crun`: an OCI bundle (runtime-spec, config.md) made of a container's spec, in minict's namespaces and cgroups. */
import { existsSync, readFileSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { requireTool, toolPath } from '../host/tool.ts';
import { heldCapabilities } from '../process/oci.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { capabilitiesOf, parseSeccomp, type Seccomp } from '../spec/security.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';
import { killInit, persistPidns } from './namespaces.ts';
import type { Runtime, RuntimeFacts } from './runtime.ts';
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

/** Where hybrid hosts have cgroup2; crun takes its controllers for a sign that it cannot work here, though it is to leave cgroups alone. */
const CONTROLLERS = '/sys/fs/cgroup/unified/cgroup.controllers';

/** What a filter or a capability needs is read once, before the plan is made. */
export function loadCrun(spec: ContainerSpec): Runtime {
  requireTool('crun');
  const program = toolPath('crun');
  const seccomp = seccompOf(spec);
  const isHybrid = existsSync(CONTROLLERS);
  return {
    planInit: (container, paths, facts, chain) =>
      planInit(container, paths, facts, { chain, program, seccomp, isHybrid }),
  };
}

function seccompOf(spec: ContainerSpec): Seccomp | undefined {
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

/** Where it is seen inside: in /dev, which is a tmpfs, so that no image needs it. */
const INIT = '/dev/init';

function configOf(spec: ContainerSpec, { rootfs, init }: RuntimeFacts, seccomp: Seccomp | undefined): object {
  const isHardened = spec.profile === 'hardened';
  const caps = capabilitiesOf(spec, heldCapabilities());
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
    root: { path: rootfs, readonly: spec.readOnly ?? false },
    mounts: [
      mount('/proc', 'proc', []),
      mount('/dev', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
      mount('/dev/pts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']),
      mount('/dev/shm', 'tmpfs', ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k']),
      mount('/dev/mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
      mount('/sys', 'sysfs', ['nosuid', 'noexec', 'nodev', ...ro]),
      { destination: INIT, type: 'bind', source: init, options: ['bind', 'ro'] },
    ],
    linux: {
      // It is started in the others.
      namespaces: [{ type: 'pid' }, { type: 'mount' }],
      ...(isHardened ? { maskedPaths: MASKED, readonlyPaths: READ_ONLY } : {}),
      ...(seccomp === undefined ? {} : { seccomp }),
    },
  };
}

/** $0: the init group's file, $1: crun, $2: its folder, in which an earlier one's state may be left. What it says is in its log. */
const START = `
echo 0 >"$0" || exit 1
alone() {
  other=
  while read -r pid; do [ "$pid" = $$ ] || other=$pid; done <"\${0%/*}/cgroup.procs"
  [ -z "$other" ]
}
rm -rf -- "$2/state"
"$1" --root "$2/state" --log "$2/log" --cgroup-manager disabled run --detach --bundle "$2" main </dev/null >/dev/null 2>&1 || {
  cat "$2/log" >&2
  # What it forked may be there for a moment, and would keep the group.
  tries=1000
  until alone || [ "$tries" -eq 0 ]; do kill -s KILL "$other"; sleep 0.01; tries=$((tries - 1)); done 2>/dev/null
  exit 1
}
`;

interface Made {
  readonly chain: string;
  readonly program: string;
  readonly seccomp: Seccomp | undefined;
  readonly isHybrid: boolean;
}

/** With the flags that the mount has; a directory in place is none yet, and what is mounted in it comes along. */
function noDevices(
  { inPlace, readOnly }: ContainerSpec,
  { mntns }: ContainerPaths,
  { rootfs }: RuntimeFacts,
): Step['run'] {
  const first = inPlace !== undefined && !readOnly ? 'mount --rbind "$0" "$0" && ' : '';
  const options = `remount,bind,nodev${readOnly ? ',ro' : ''}`;
  return { kind: 'run', argv: ['sh', '-c', `${first}exec mount -o ${options} "$0"`, rootfs], mntns };
}

function planInit(
  spec: ContainerSpec,
  paths: ContainerPaths,
  facts: RuntimeFacts,
  { chain, program, seccomp, isHybrid }: Made,
): Step[] {
  const { cgroup } = facts;
  const bundle = paths.oci;
  const enter = [
    ...['nsenter', `--mount=${paths.mntns}`, `--net=${paths.netns}`, `--uts=${paths.utsns}`],
    ...[`--ipc=${paths.ipcns}`, `--cgroup=${paths.cgroupns}`],
  ];
  const step = (id: string, why: string, run: Step['run']): Step => ({ id, why, chain, run });
  const hide = {
    source: '/dev/null',
    target: CONTROLLERS,
    fstype: 'none',
    options: 'bind',
    mntns: paths.mntns,
  } as const;
  return [
    ...(spec.profile === 'hardened'
      ? [step('nodev', 'no device of the image can be opened', noDevices(spec, paths, facts))]
      : []),
    step('bundle folder', 'what crun has to know', { kind: 'mkdir', path: bundle, mode: 0o700, parents: true }),
    step('bundle', 'the container as an OCI bundle', {
      kind: 'write',
      path: `${bundle}/config.json`,
      content: `${JSON.stringify(configOf(spec, facts, seccomp), null, 1)}\n`,
    }),
    ...(isHybrid
      ? [
          {
            ...step('mount controllers', 'crun refuses a hybrid host by this file', { kind: 'mount', ...hide }),
            endsWith: 'mntns',
          },
        ]
      : []),
    {
      ...step('init', 'PID 1, in all namespaces, by crun', {
        kind: 'run',
        argv: [...enter, 'sh', '-c', START, cgroup.enterInit, program, bundle],
      }),
      undo: killInit(cgroup),
      claims: [{ kind: 'init', name: cgroup.init }],
      leaves: true,
    },
    ...persistPidns(paths, cgroup, chain),
  ];
}
